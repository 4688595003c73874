// The viewer: puts the parts together and answers to buttons and keys.
import { Annotator } from "./annotator";
import { BACKGROUND, LESION, type Lesion } from "./labels";
import { Jobs } from "./jobs";
import { listenToKeys, type Commands } from "./keyboard";
import { labeled, showLesions, showScans } from "./lists";
import { Offers } from "./offers";
import { element, help, say } from "./page";
import { Picture, type Spot } from "./picture";
import { Pointer } from "./pointer";
import { askConflict, askUndecided, askUnsaved, askVersion } from "./questions";
import { Scan } from "./scan";
import { isScan, type Item } from "./server";
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
const offers = new Offers();
const jobs = new Jobs(showState);

let scan: Scan | null = null;
let items: Item[] = [];

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
  offers.show(info);
  showState();
  training.know(info);
}

function showItems(): void {
  showScans(items, scan?.id ?? null, (id) => void jobs.run(() => open(id)));
}

async function open(id: string, asked = false): Promise<void> {
  if (!asked && !(await mayLeave())) return;
  const item = items.find((each) => each.id === id);
  if (!item) throw new Error(`There is no scan ${id} in the work list.`);
  document.body.classList.remove("scans");
  jobs.tell("Loading the scan");
  scan = await Scan.open(server, id, item.views);
  picture.show(scan.image, scan.labels, scan.views);
  element("empty").hidden = true;
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  toolbar.showWindow();
  changed();
  showItems();
  if (offers.always && !labeled(item)) await propose();
}

/** Ask what shall become of unsaved work; whether to go on. */
async function mayLeave(): Promise<boolean> {
  if (!scan?.unsaved) return true;
  const wish = await askUnsaved(scan.id);
  return wish === "discard" || (wish === "save" && (await save()));
}

async function next(): Promise<void> {
  if (!(await mayLeave())) return;
  jobs.tell("Choosing the next scan");
  const id = await server.next(offers.strategy, annotator.name);
  await refreshItems();
  if (id === null) say("Every scan has a label. Well done.");
  else if (id === scan?.id) say("No other scan is waiting.");
  else await open(id, true);
}

async function propose(): Promise<void> {
  if (!scan) return;
  jobs.tell("The network is looking at the scan");
  const count = await scan.propose(offers.model);
  changed();
  say(count ? `${count} lesion${count > 1 ? "s" : ""} proposed: accept, reject or split each.` : "The network proposes no lesion that is not labeled already.");
}

async function save(): Promise<boolean> {
  if (!scan) return false;
  const waiting = scan.undecided;
  if (waiting.length) {
    const wish = await askUndecided(waiting.length);
    if (!wish) return false;
    decide(waiting, wish === "accept");
  }
  jobs.tell("Saving");
  const saved = await scan.save(annotator.name);
  if (saved.conflict !== null) return conflict(saved.conflict);
  say(`Saved as version ${saved.version}.`);
  showState();
  await refreshItems();
  return true;
}

async function conflict(words: string): Promise<boolean> {
  const wish = await askConflict(words);
  if (!wish || !scan) return false;
  await scan.catchUp(wish === "theirs");
  changed();
  await refreshItems();
  return wish === "mine" && save();
}

async function versions(): Promise<void> {
  if (!scan) return;
  const chosen = await askVersion(scan.id, await scan.versions());
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
    ["save", scan], ["save-next", scan], ["versions", scan], ["propose", scan && offers.model], ["next", items.length],
    ["undo", scan?.labels.undoable], ["redo", scan?.labels.redoable],
  ] as const) element<HTMLButtonElement>(id).disabled = !able || (jobs.working && id !== "undo" && id !== "redo");
}

function undo(again: boolean): void {
  if (!scan || pointer.busy) return;
  const what = again ? scan.labels.redo() : scan.labels.undo();
  if (what) changed();
}

// --- buttons and keys

const saveAndNext = async () => {
  if (await save()) await next();
};
const commands: Commands = {
  menu: () => void document.body.classList.toggle("scans"),
  "training-small": () => void document.body.classList.add("scans"),
  user: () => void jobs.run(whoAnnotates),
  versions: () => void jobs.run(versions),
  help: () => void jobs.run(help),
  save: () => void jobs.run(save),
  "save-next": () => void jobs.run(saveAndNext),
  next: () => void jobs.run(next),
  propose: () => void jobs.run(propose),
  train: () => void jobs.run(() => training.start(offers.model, scan?.unsaved ? scan.id : null)),
  stop: () => void jobs.run(() => training.stop()),
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
  window.onhashchange = () => void jobs.run(openAddressed);
  // Others label too; not while something is asked or under way.
  setInterval(() => document.hidden || jobs.running || void lookAround().catch(() => undefined), 60_000);
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
  offers.listen();
  showState();
  await jobs.run(async () => {
    // Asks to sign in, if the server wants that.
    await renew();
    await annotator.introduce();
    await refreshItems();
    await training.look();
    await openAddressed();
  });
}

void start();
