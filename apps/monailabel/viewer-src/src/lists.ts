// The two lists beside the picture: scans to label, and lesions of the scan.
import type { Lesion } from "./labels";
import { element, make } from "./page";
import type { Item, Version } from "./server";

export function labeled(item: Item): boolean {
  return "final" in item.labels;
}

export function showScans(items: Item[], current: string | null, open: (id: string) => void): void {
  const done = items.filter(labeled).length;
  const progress = element<HTMLProgressElement>("progress");
  [progress.max, progress.value] = [Math.max(1, items.length), done];
  element("progress-shown").textContent = `${done} of ${items.length} labeled`;
  const shown = element<HTMLInputElement>("unlabeled").checked ? items.filter((item) => !labeled(item)) : items;
  const rows = shown.map((item) => {
    const final = item.labels.final;
    const about = final
      ? `${final.user || "labeled"} · version ${final.version ?? 1}`
      : item.reserved ? "another annotator has it" : "no label yet";
    const button = make("button", { onclick: () => open(item.id) },
      make("span", { className: "mark", textContent: final ? "✓" : item.reserved ? "…" : "" }),
      make("span", { className: "text" }, make("b", { textContent: item.id }), make("small", { textContent: about })));
    button.dataset.item = item.id;
    button.setAttribute("aria-current", String(item.id === current));
    return make("li", {}, button);
  });
  element("items").replaceChildren(...rows);
}

export interface LesionActions {
  select(lesion: Lesion): void;
  accept(lesions: Lesion[]): void;
  reject(lesions: Lesion[]): void;
  restore(lesion: Lesion): void;
}

const SHORT: Record<string, string> = { anterior: "ant.", posterior: "post." };
const WORDS = { lesion: "Lesion", proposed: "Proposed", ignored: "Unsure", rejected: "Rejected" };

export function showLesions(
  lesions: Lesion[], selected: Lesion | null, views: string[], pixelArea: number | null, actions: LesionActions,
): void {
  const rows = lesions.map((lesion, index) => {
    const { state, finding } = lesion;
    const size = pixelArea ? `${((lesion.places.length * pixelArea) / 100).toFixed(1)}\u00a0cm²` : `${lesion.places.length} px`;
    const chance = finding ? `${Math.round(100 * finding.probability_max)}\u00a0%` : "drawn";
    // The circle of the number tells the state: filled, outlined, dashed; the words are for those who cannot see it.
    const bone = finding?.bone;
    const name = bone ? bone[0].toUpperCase() + bone.slice(1) : WORDS[state];
    const view = SHORT[views[lesion.view]] ?? `view ${lesion.view + 1}`;
    const about = [view, chance, size].join(" · ");
    const row = make("button", { className: "row", title: WORDS[state], onclick: () => actions.select(lesion) },
      make("span", { className: "number", textContent: String(index + 1) }),
      make("span", { className: "text" }, make("b", { textContent: name }), make("small", { textContent: about })));
    const act = (text: string, title: string, kind: string, run: () => void) => {
      const button = make("button", { className: `act ${kind}`, textContent: text, title, onclick: run });
      button.setAttribute("aria-label", `${title}: ${index + 1}`);
      return button;
    };
    const buttons = {
      proposed: () => [
        act("✓", "Accept (A)", "yes", () => actions.accept([lesion])), act("✕", "Reject (R)", "no", () => actions.reject([lesion])),
      ],
      lesion: () => [act("✕", "Remove (R)", "no", () => actions.reject([lesion]))],
      ignored: () => [act("✕", "Remove (R)", "no", () => actions.reject([lesion]))],
      rejected: () => [act("↺", "Propose again", "back", () => actions.restore(lesion))],
    }[state]();
    const line = make("li", { className: state }, row, ...buttons);
    line.dataset.state = state;
    line.setAttribute("aria-current", String(lesion === selected));
    return line;
  });
  const none = make("li", { className: "hint", textContent: "No lesions. Press “Propose lesions”, or paint with the brush." });
  element("found").replaceChildren(...(rows.length ? rows : [none]));
  if (selected) element("found").querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  const waiting = lesions.filter((lesion) => lesion.state === "proposed").length;
  element("undecided").hidden = !waiting;
  element("undecided-shown").textContent = `${waiting} proposed, not decided`;
}

/** The table of a label's versions, the newest first. */
export function versionTable(versions: Version[], load: (version: number) => void): HTMLTableElement {
  const rows = [...versions].reverse().map((version) => {
    const when = version.time ? new Date(version.time).toLocaleString() : "";
    const cells = [String(version.version), version.action, version.user || "unknown", when, `${version.lesion_pixels ?? 0} px`];
    const button = make("button", { type: "button", textContent: "Open", onclick: () => load(version.version) });
    button.title = "Put this version into the picture; undo takes it back";
    const last = make("td", {}, ...(version.action === "removed" ? [] : [button]));
    return make("tr", {}, ...cells.map((textContent) => make("td", { textContent })), last);
  });
  const names = ["", "", "by", "at", "lesions", ""].map((textContent) => make("th", { textContent }));
  return make("table", {}, make("thead", {}, make("tr", {}, ...names)), make("tbody", {}, ...rows));
}
