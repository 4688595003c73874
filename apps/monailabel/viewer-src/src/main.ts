// The viewer: puts the parts together and answers to buttons and keys.
import { BACKGROUND, LESION, type Lesion } from "./labels";
import { listenToKeys, type Commands } from "./keyboard";
import { labeled, showLesions, showScans, versionTable } from "./lists";
import { answer, ask, askText, element, help, make, press, say } from "./page";
import { Picture, type Spot } from "./picture";
import { Pointer, type Tool } from "./pointer";
import { Scan } from "./scan";
import { Server, type Item } from "./server";
import { remember, remembered } from "./settings";

const server = new Server(signIn);
const picture = new Picture(element<HTMLCanvasElement>("picture"));
const pointer = new Pointer(picture, {
  labels: () => scan?.labels ?? null, changed, picked, windowChanged: showWindow, say: (text) => say(text, true),
});
const strategy = element<HTMLSelectElement>("strategy");
const model = element<HTMLSelectElement>("model");

let scan: Scan | null = null;
let items: Item[] = [];
let annotator = remembered("annotator");
let signedIn = false;
let running = false;
let working = false;

// --- signing in

async function signIn(): Promise<void> {
  let problem = "";
  for (;;) {
    const name = make("input", { type: "text", autocomplete: "username", name: "username", autofocus: true });
    const password = make("input", { type: "password", autocomplete: "current-password", name: "password" });
    const told = make("p", { className: "bad", textContent: problem });
    const fields = [make("label", {}, "User", name), make("label", {}, "Password", password)];
    const text = scan ? "Your sign-in has ended. What you have drawn is kept." : "This server asks who you are.";
    await ask("Sign in", [text, ...fields, ...(problem ? [told] : [])], [{ key: "ok", text: "Sign in", primary: true }], false);
    try {
      await server.fetchToken(name.value, password.value);
      return;
    } catch (error) {
      problem = message(error);
    }
  }
}

async function whoAnnotates(): Promise<void> {
  if (signedIn) {
    const text = `Signed in as ${annotator}.`;
    if ((await ask("Signed in", [text], [{ key: "out", text: "Sign out" }, { key: "", text: "Close", primary: true }])) === "out") {
      if (!(await mayLeave())) return;
      server.signOut();
      scan = null;
      location.hash = "";
      location.reload();
    }
    return;
  }
  const name = await askText("Who is annotating?", "The name is kept with every label that you save.", "Your name", annotator);
  if (name !== null) remember("annotator", (annotator = name));
  showState();
}

// --- scans

async function refreshItems(): Promise<void> {
  items = await server.workList(annotator);
  showItems();
}

function showItems(): void {
  showScans(items, scan?.id ?? null, (id) => void run(() => open(id)));
}

async function open(id: string, asked = false): Promise<void> {
  if (!asked && !(await mayLeave())) return;
  const item = items.find((each) => each.id === id);
  if (!item) throw new Error(`There is no scan ${id} in the work list.`);
  document.body.classList.remove("scans");
  tell("Loading the scan");
  scan = await Scan.open(server, id, item.views);
  picture.show(scan.image, scan.labels, scan.views);
  element("empty").hidden = true;
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  showWindow();
  changed();
  showItems();
  if (element<HTMLInputElement>("always").checked && !labeled(item) && model.value) await propose();
}

/** Ask what shall become of unsaved work; whether to go on. */
async function mayLeave(): Promise<boolean> {
  if (!scan?.unsaved) return true;
  const wish = await ask("Unsaved changes", [`The label of ${scan.id} has not been saved.`], [
    { key: "", text: "Stay" }, { key: "discard", text: "Discard them" }, { key: "save", text: "Save", primary: true },
  ]);
  return wish === "discard" || (wish === "save" && (await save()));
}

async function next(): Promise<void> {
  if (!(await mayLeave())) return;
  tell("Choosing the next scan");
  const id = await server.next(strategy.value, annotator);
  await refreshItems();
  if (id === null) say("Every scan has a label. Well done.");
  else if (id === scan?.id) say("No other scan is waiting.");
  else await open(id, true);
}

async function propose(): Promise<void> {
  if (!scan) return;
  tell("The network is looking at the scan");
  const count = await scan.propose(model.value);
  changed();
  say(count ? `${count} lesion${count > 1 ? "s" : ""} proposed: accept, reject or split each.` : "The network proposes no lesion that is not labeled already.");
}

async function save(): Promise<boolean> {
  if (!scan) return false;
  const waiting = scan.undecided;
  if (waiting.length) {
    const count = waiting.length === 1 ? "One proposed lesion is" : `${waiting.length} proposed lesions are`;
    const wish = await ask("Not decided", [`${count} neither accepted nor rejected.`], [
      { key: "", text: "Back" }, { key: "without", text: "Reject, save" }, { key: "accept", text: "Accept, save", primary: true },
    ]);
    if (!wish) return false;
    decide(waiting, wish === "accept");
  }
  tell("Saving");
  const saved = await scan.save(annotator);
  if (saved.conflict !== null) return conflict(saved.conflict);
  say(`Saved as version ${saved.version}.`);
  showState();
  await refreshItems();
  return true;
}

async function conflict(words: string): Promise<boolean> {
  const wish = await ask("Somebody else has saved this label", [
    `Nothing was overwritten, and your drawing is still here. The server says: ${words}.`,
    "Look at theirs puts the newest version into the picture; undo brings yours back. Save mine makes yours the newest version; theirs stays in the history.",
  ], [{ key: "", text: "Back" }, { key: "mine", text: "Save mine" }, { key: "theirs", text: "Look at theirs", primary: true }]);
  if (!wish || !scan) return false;
  await scan.catchUp(wish === "theirs");
  changed();
  await refreshItems();
  return wish === "mine" && save();
}

async function versions(): Promise<void> {
  if (!scan) return;
  const list = await scan.versions();
  const content = list.length ? versionTable(list, (number) => answer(String(number))) : "No version has been saved yet.";
  const chosen = await ask(`Versions of ${scan.id}`, [content], [{ key: "", text: "Close", primary: true }]);
  if (!chosen) return;
  scan.labels.replace(await scan.version(Number(chosen)), `version ${chosen}`);
  changed();
  say(`Version ${chosen} is in the picture; save it to make it the newest.`);
}

// --- lesions

/** After every change of the labels. */
function changed(): void {
  scan?.refresh();
  picture.relabel();
  showList();
}

function showList(): void {
  if (!scan) return;
  [picture.lesions, picture.selected] = [scan.lesions, scan.selected];
  showLesions(scan.lesions, scan.selected, scan.views, scan.pixelArea, {
    select: (lesion) => select(lesion, true),
    accept: (lesions) => decide(lesions, true),
    reject: (lesions) => decide(lesions, false),
    restore: (lesion) => {
      scan?.restore(lesion);
      changed();
    },
  });
  picture.redraw();
  showState();
}

function select(lesion: Lesion | null, go: boolean): void {
  if (!scan) return;
  scan.selected = lesion;
  if (lesion && go) picture.goTo(lesion);
  showList();
}

function picked({ view, row, column }: Spot): void {
  if (!scan) return;
  const { rows, columns } = scan.image.grid;
  const inside = row >= 0 && column >= 0 && row < rows && column < columns;
  select(inside ? scan.lesionAt(scan.labels.index(view, Math.floor(row), Math.floor(column))) : null, false);
}

function decide(lesions: Lesion[], accepted: boolean): void {
  if (!scan || !lesions.length) return;
  scan.labels.fill(lesions, accepted ? LESION : BACKGROUND, accepted ? "accepting" : "rejecting");
  changed();
}

/** Decide on the selected lesion, and go on to the next one that waits. */
function decideSelected(accepted: boolean): void {
  const lesion = scan?.selected;
  if (!scan || !lesion || lesion.state === "rejected" || (accepted && lesion.state !== "proposed")) return;
  const following = scan.neighbor(1, (other) => other.state === "proposed" && other !== lesion);
  scan.selected = following;
  decide([lesion], accepted);
  if (scan.selected && following) select(scan.selected, true);
}

// --- what the page shows

function showState(): void {
  document.title = scan ? `${scan.unsaved ? "• " : ""}${scan.id}` : "Bone scan viewer";
  element("title").textContent = scan?.id ?? "Bone scans";
  const state = element("state");
  state.textContent = !scan ? "" : scan.unsaved ? "not saved" : scan.base ? `version ${scan.base}` : "no label yet";
  state.classList.toggle("unsaved", Boolean(scan?.unsaved));
  element("user").textContent = annotator || "Your name";
  for (const [id, able] of [
    ["save", scan], ["save-next", scan], ["versions", scan], ["propose", scan && model.value], ["next", items.length],
    ["undo", scan?.labels.undoable], ["redo", scan?.labels.redoable],
  ] as const) element<HTMLButtonElement>(id).disabled = !able || (working && id !== "undo" && id !== "redo");
}

function showWindow(): void {
  // Cubes: a bladder may hold fifty times the counts of the bones, whose window shall not be a hair's breadth.
  element<HTMLInputElement>("window").value = String(1000 * Math.cbrt(picture.width / (2 * picture.range)));
  element<HTMLInputElement>("level").value = String(1000 * Math.cbrt(picture.level / picture.range));
}

function setBright(bright: boolean): void {
  document.body.classList.toggle("dark", bright);
  press(element("invert"), bright);
  picture.setInverted(!bright);
  picture.redraw();
  remember("bright", bright ? "yes" : "");
}

function setTool(tool: Tool): void {
  if (pointer.busy) pointer.drop();
  pointer.tool = tool;
  picture.canvas.dataset.tool = tool;
  for (const button of element("tools").children) press(button as HTMLElement, (button as HTMLElement).dataset.tool === tool);
}

function setSize(size: number): void {
  pointer.size = Math.min(40, Math.max(1, size));
  element<HTMLInputElement>("size").value = element("size-shown").textContent = String(pointer.size);
  remember("size", String(pointer.size));
  if (picture.brush?.size) picture.brush.size = pointer.size;
  picture.redraw();
}

function setHidden(hidden: boolean): void {
  picture.overlaid = !hidden;
  press(element("hide"), hidden);
  picture.redraw();
}

function undo(again: boolean): void {
  if (!scan || pointer.busy) return;
  const what = again ? scan.labels.redo() : scan.labels.undo();
  if (what) changed();
}

function tell(text: string): void {
  working = text !== "";
  element("busy").hidden = !working;
  element("busy").textContent = text && `${text} …`;
  showState();
}

/** Run something that takes time, one at a time, and tell what goes wrong. */
async function run(job: () => Promise<unknown>): Promise<void> {
  if (running) return;
  running = true;
  try {
    await job();
  } catch (error) {
    say(message(error), true);
  } finally {
    running = false;
    tell("");
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

// --- buttons and keys

const saveAndNext = async () => {
  if (await save()) await next();
};
const commands: Commands = {
  menu: () => void document.body.classList.toggle("scans"),
  user: () => void run(whoAnnotates),
  versions: () => void run(versions),
  help: () => void run(help),
  save: () => void run(save),
  "save-next": () => void run(saveAndNext),
  next: () => void run(next),
  propose: () => void run(propose),
  "accept-all": () => scan && decide(scan.undecided, true),
  "reject-all": () => scan && decide(scan.undecided, false),
  undo: () => undo(false),
  redo: () => undo(true),
  auto: () => {
    if (!scan) return;
    picture.autoWindow();
    showWindow();
  },
  invert: () => setBright(picture.inverted),
  smaller: () => picture.zoom(1 / 1.4),
  larger: () => picture.zoom(1.4),
  fit: () => picture.fit(),
  hide: () => setHidden(picture.overlaid),
};
const plainKeys: Commands = {
  v: () => setTool("move"), b: () => setTool("lesion"), i: () => setTool("ignore"), e: () => setTool("erase"),
  s: () => setTool("split"), "[": () => setSize(pointer.size - 1), "]": () => setSize(pointer.size + 1),
  a: () => decideSelected(true), r: () => decideSelected(false), p: commands.propose, h: commands.hide,
  x: commands.invert, "+": commands.larger, "=": commands.larger, "-": commands.smaller, f: commands.fit,
  "0": commands.auto, n: commands.next, "?": commands.help,
  arrowdown: () => select(scan?.neighbor(1) ?? null, true), arrowup: () => select(scan?.neighbor(-1) ?? null, true),
  escape: () => {
    document.body.classList.remove("scans");
    if (pointer.busy) pointer.drop();
    else select(null, false);
  },
};
const controlKeys: Commands = {
  "ctrl z": commands.undo, "ctrl y": commands.redo, "ctrl shift z": commands.redo, "ctrl s": commands.save,
  "ctrl enter": commands["save-next"],
};

function listen(): void {
  for (const [id, command] of Object.entries(commands)) element(id).onclick = command;
  element("tools").onclick = (event) => {
    const tool = (event.target as Element).closest<HTMLElement>("[data-tool]")?.dataset.tool;
    if (tool) setTool(tool as Tool);
  };
  const range = (id: string, change: (value: number) => void) => {
    const input = element<HTMLInputElement>(id);
    input.oninput = () => change(Number(input.value));
  };
  range("size", setSize);
  range("window", (value) => scan && picture.setWindow(picture.level, 2 * picture.range * (value / 1000) ** 3));
  range("level", (value) => scan && picture.setWindow(picture.range * (value / 1000) ** 3, picture.width));
  element("unlabeled").onchange = showItems;
  element("always").onchange = () => remember("always", element<HTMLInputElement>("always").checked ? "yes" : "");
  strategy.onchange = () => remember("strategy", strategy.value);
  model.onchange = () => remember("model", model.value);
  listenToKeys({ ...plainKeys, ...controlKeys }, (held) => {
    pointer.panning = held;
    picture.canvas.classList.toggle("panning", held);
  });
  // Keys go to the picture after a click, not to the button that was clicked.
  document.onclick = (event) => event.detail && (event.target as Element).closest("button")?.blur();
  window.onbeforeunload = (event) => {
    if (!scan?.unsaved) return;
    event.preventDefault();
    // What browsers asked for before 2023.
    event.returnValue = "unsaved";
  };
  window.onhashchange = () => void run(openAddressed);
  // Others label too; not while something is asked or under way.
  setInterval(() => document.hidden || running || void refreshItems().catch(() => undefined), 60_000);
}

async function openAddressed(): Promise<void> {
  const id = decodeURIComponent(location.hash.slice(1));
  if (id && id !== scan?.id) await open(id);
}

async function start(): Promise<void> {
  if (typeof DecompressionStream === "undefined" || !("showModal" in HTMLDialogElement.prototype)) return;
  document.body.classList.add("ready");
  listen();
  setTool("move");
  setSize(Number(remembered("size")) || 6);
  setBright(remembered("bright") === "yes");
  element<HTMLInputElement>("always").checked = remembered("always") === "yes";
  showState();
  await run(async () => {
    // Asks to sign in, if the server wants that.
    const { models, strategies } = await server.info();
    const user = await server.user();
    signedIn = user !== null;
    if (user !== null) annotator = user;
    else if (!annotator) await whoAnnotates();
    const options = (names: string[]) => names.map((name) => new Option(name.replace(/_/g, " "), name));
    // What learns the most comes first; then those that do not look at the scans.
    const plain = ["random", "first"];
    const names = Object.keys(strategies).sort((one, other) => plain.indexOf(one) - plain.indexOf(other));
    strategy.replaceChildren(...options(names));
    for (const option of strategy.options) option.title = strategies[option.value].description ?? "";
    if (names.includes(remembered("strategy"))) strategy.value = remembered("strategy");
    model.replaceChildren(...options(Object.keys(models)));
    if (remembered("model") in models) model.value = remembered("model");
    model.hidden = model.options.length < 2;
    if (!model.options.length) element("propose").textContent = "No network has weights yet";
    await refreshItems();
    await openAddressed();
  });
}

void start();
