// The viewer: puts the parts together and answers to buttons and keys.
import { Annotator } from "./annotator";
import { BACKGROUND, LESION, type Lesion } from "./labels";
import { listenToKeys, type Commands } from "./keyboard";
import { labeled, showLesions, showScans, versionTable } from "./lists";
import { answer, ask, element, help, say } from "./page";
import { Picture, type Spot } from "./picture";
import { Pointer } from "./pointer";
import { Scan } from "./scan";
import { isScan, type Info, type Item } from "./server";
import { remember, remembered } from "./settings";
import { Toolbar } from "./toolbar";
import { Training } from "./training";

const annotator = new Annotator(() => scan !== null);
const server = annotator.server;
const picture = new Picture(element<HTMLCanvasElement>("picture"));
const pointer = new Pointer(picture, {
  labels: () => scan?.labels ?? null, changed, picked, windowChanged: () => toolbar.showWindow(), say: (text) => say(text, true),
});
const toolbar = new Toolbar(picture, pointer);
const training = new Training(server, renew, () => items.filter(labeled).length);
const strategy = element<HTMLSelectElement>("strategy");
const model = element<HTMLSelectElement>("model");

let scan: Scan | null = null;
let items: Item[] = [];
let running = false;
let working = false;
let abouts: Record<string, string> = {};

async function whoAnnotates(): Promise<void> {
  if ((await annotator.ask()) && (await mayLeave())) {
    scan = null;
    annotator.leave();
  }
  showState();
}

// --- scans

async function refreshItems(): Promise<void> {
  const all = await server.workList(annotator.name);
  items = all.filter(isScan);
  const others = all.length - items.length;
  element("others").hidden = !others;
  element("others").textContent = `${others} more that are no planar scans: open them in 3D Slicer or ITK-SNAP.`;
  training.show();
  showItems();
}

/** What the server offers, at the start and after a training. */
async function renew(): Promise<void> {
  const info = await server.info();
  showOffers(info);
  training.know(info);
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
  toolbar.showWindow();
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
  const id = await server.next(strategy.value, annotator.name);
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
  const saved = await scan.save(annotator.name);
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
  element("user").textContent = annotator.name || "Your name";
  for (const [id, able] of [
    ["save", scan], ["save-next", scan], ["versions", scan], ["propose", scan && model.value], ["next", items.length],
    ["undo", scan?.labels.undoable], ["redo", scan?.labels.redoable],
  ] as const) element<HTMLButtonElement>(id).disabled = !able || (working && id !== "undo" && id !== "redo");
}

function showOffers({ models, strategies }: Info): void {
  const fill = (menu: HTMLSelectElement, names: string[], habit: string) => {
    const wished = menu.value || habit;
    menu.replaceChildren(...names.map((name) => new Option(name.replace(/_/g, " "), name)));
    if (names.includes(wished)) menu.value = wished;
  };
  // What learns the most comes first; then those that do not look at the scans.
  const plain = ["random", "first"];
  const names = Object.keys(strategies).sort((one, other) => plain.indexOf(one) - plain.indexOf(other));
  fill(strategy, names, remembered("strategy"));
  abouts = Object.fromEntries(names.map((name) => [name, strategies[name].description ?? ""]));
  showStrategy();
  fill(model, Object.keys(models).filter((name) => isScan(models[name])), remembered("model"));
  model.hidden = model.options.length < 2;
  element("propose").textContent = model.options.length ? "Propose lesions" : "No network has weights yet";
  showState();
}

function showStrategy(): void {
  element("strategy-about").textContent = element("strategy-about").title = abouts[strategy.value] ?? "";
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
  "training-small": () => void document.body.classList.add("scans"),
  user: () => void run(whoAnnotates),
  versions: () => void run(versions),
  help: () => void run(help),
  save: () => void run(save),
  "save-next": () => void run(saveAndNext),
  next: () => void run(next),
  propose: () => void run(propose),
  train: () => void run(() => training.start(model.value, scan?.unsaved ? scan.id : null)),
  stop: () => void run(() => training.stop()),
  "accept-all": () => scan && decide(scan.undecided, true),
  "reject-all": () => scan && decide(scan.undecided, false),
  undo: () => undo(false),
  redo: () => undo(true),
  auto: () => {
    if (!scan) return;
    picture.autoWindow();
    toolbar.showWindow();
  },
  invert: () => toolbar.setBright(picture.inverted),
  smaller: () => picture.zoom(1 / 1.4),
  larger: () => picture.zoom(1.4),
  fit: () => picture.fit(),
  hide: () => toolbar.setHidden(picture.overlaid),
};
const plainKeys: Commands = {
  v: () => toolbar.setTool("move"), b: () => toolbar.setTool("lesion"), i: () => toolbar.setTool("ignore"), e: () => toolbar.setTool("erase"),
  s: () => toolbar.setTool("split"), "[": () => toolbar.setSize(pointer.size - 1), "]": () => toolbar.setSize(pointer.size + 1),
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
  element("unlabeled").onchange = showItems;
  element("always").onchange = () => remember("always", element<HTMLInputElement>("always").checked ? "yes" : "");
  strategy.onchange = () => {
    remember("strategy", strategy.value);
    showStrategy();
  };
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
  setInterval(() => document.hidden || running || void lookAround().catch(() => undefined), 60_000);
}

async function lookAround(): Promise<void> {
  await refreshItems();
  if (!training.active) await training.look();
}

async function openAddressed(): Promise<void> {
  const id = decodeURIComponent(location.hash.slice(1));
  if (id && id !== scan?.id) await open(id);
}

async function start(): Promise<void> {
  if (typeof DecompressionStream === "undefined" || !("showModal" in HTMLDialogElement.prototype)) return;
  if (!picture.usable) {
    element("starting").textContent = "This browser does not let the page draw: allow canvas for this address, or use another browser. WebGL is not needed.";
    return;
  }
  document.body.classList.add("ready");
  listen();
  toolbar.listen(() => scan !== null);
  element<HTMLInputElement>("always").checked = remembered("always") === "yes";
  showState();
  await run(async () => {
    // Asks to sign in, if the server wants that.
    await renew();
    await annotator.introduce();
    await refreshItems();
    await training.look();
    await openAddressed();
  });
}

void start();
