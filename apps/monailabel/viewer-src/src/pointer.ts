// Mouse, pen and fingers on the picture.
import { BACKGROUND, IGNORE, LESION, type Labels } from "./labels";
import type { Picture, Spot } from "./picture";

export type Tool = "move" | "lesion" | "ignore" | "erase" | "split";
const VALUES: Partial<Record<Tool, number>> = { lesion: LESION, ignore: IGNORE, erase: BACKGROUND };
const STEPS: Partial<Record<Tool, string>> = { lesion: "painting", ignore: "painting", erase: "erasing" };
// A press that moves less than this many pixels of the page is a click.
const CLICK = 4;

interface Actions {
  labels(): Labels | null;
  /** The labels have changed for good. */
  changed(): void;
  /** A place was clicked with the tool for moving. */
  picked(spot: Spot): void;
  windowChanged(): void;
  say(text: string): void;
}

interface Press {
  kind: "draw" | "split" | "pan" | "window";
  start: Spot;
  last: Spot;
  x: number;
  y: number;
  moved: boolean;
}

export class Pointer {
  tool: Tool = "move";
  size = 6;
  /** While the space bar is down. */
  panning = false;
  private press: Press | null = null;
  private penSeen = false;
  private readonly down = new Map<number, { x: number; y: number }>();

  constructor(private readonly picture: Picture, private readonly actions: Actions) {
    const { canvas } = picture;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.finish(event));
    canvas.addEventListener("pointercancel", (event) => this.cancel(event));
    canvas.addEventListener("pointerleave", () => this.showBrush(null));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  get busy(): boolean {
    return this.press !== null;
  }

  private at(event: MouseEvent, view?: number): Spot | null {
    const { left, top } = this.picture.canvas.getBoundingClientRect();
    return this.picture.spot(event.clientX - left, event.clientY - top, view);
  }

  private begin(event: PointerEvent): void {
    const spot = this.at(event);
    if (!spot) return;
    this.picture.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.penSeen ||= event.pointerType === "pen";
    if (this.down.size > 1) {
      // A second finger: this is a pinch, and what the first has drawn was not meant.
      this.drop();
      return;
    }
    const finger = event.pointerType === "touch";
    let kind: Press["kind"] = this.tool === "move" ? "pan" : this.tool === "split" ? "split" : "draw";
    if (event.button === 1 || this.panning || (finger && this.penSeen)) kind = "pan";
    else if (event.button === 2) kind = "window";
    this.press = { kind, start: spot, last: spot, x: event.clientX, y: event.clientY, moved: false };
    if (kind === "draw") {
      this.actions.labels()?.begin();
      this.draw(spot);
    }
  }

  private move(event: PointerEvent): void {
    const before = this.down.get(event.pointerId);
    const place = { x: event.clientX, y: event.clientY };
    if (this.down.size > 1 && before) {
      this.pinch(event.pointerId, before, place);
      return;
    }
    if (event.pointerType !== "touch") this.showBrush(this.at(event, this.press?.start.view));
    const { press } = this;
    if (!press || !before) return;
    press.moved ||= Math.hypot(place.x - press.x, place.y - press.y) > CLICK;
    if (press.kind === "draw") {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.draw(this.at(each, press.start.view)!);
    } else if (press.kind === "split") {
      press.last = this.at(event, press.start.view)!;
      this.picture.cut = { view: press.start.view, from: press.start, to: press.last };
      this.picture.redraw();
    } else if (press.moved && press.kind === "pan") {
      this.picture.pan(press.start.view, place.x - before.x, place.y - before.y);
    } else if (press.moved) {
      // To the right a wider window, upwards a higher level; a tenth of the range for a tenth of the picture's height.
      const share = this.picture.range / Math.max(1, this.picture.canvas.clientHeight);
      const { level, width } = this.picture;
      this.picture.setWindow(level - (place.y - before.y) * share * 0.5, width + (place.x - before.x) * share);
      this.actions.windowChanged();
    }
    this.down.set(event.pointerId, place);
  }

  private finish(event: PointerEvent): void {
    this.down.delete(event.pointerId);
    const { press } = this;
    if (!press || this.down.size) return;
    this.press = null;
    const labels = this.actions.labels();
    if (press.kind === "draw") {
      labels?.end(STEPS[this.tool] ?? "drawing");
      this.actions.changed();
    } else if (press.kind === "split" && labels) {
      this.picture.cut = null;
      labels.begin();
      const cut = press.moved && labels.split(press.start.view, press.start, press.last);
      labels.end("split");
      if (!cut) this.actions.say("Draw a line across a lesion to split it.");
      this.actions.changed();
    } else if (!press.moved && press.kind === "pan") {
      this.actions.picked(press.start);
    }
    this.picture.redraw();
  }

  private cancel(event: PointerEvent): void {
    this.down.delete(event.pointerId);
    this.drop();
  }

  /** Take back what is being drawn. */
  drop(): void {
    if (this.press?.kind === "draw") {
      this.actions.labels()?.abort();
      this.picture.relabel(this.press.start.view);
    }
    [this.press, this.picture.cut] = [null, null];
    this.picture.redraw();
  }

  private pinch(moved: number, before: { x: number; y: number }, place: { x: number; y: number }): void {
    const other = [...this.down].find(([id]) => id !== moved)![1];
    const { left, top } = this.picture.canvas.getBoundingClientRect();
    const [x, y] = [(place.x + other.x) / 2 - left, (place.y + other.y) / 2 - top];
    const distance = (to: { x: number; y: number }) => Math.max(20, Math.hypot(to.x - other.x, to.y - other.y));
    const view = this.picture.spot(x, y)?.view ?? 0;
    this.picture.pan(view, (place.x - before.x) / 2, (place.y - before.y) / 2);
    this.picture.zoom(distance(place) / distance(before), x, y);
    this.down.set(moved, place);
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    const { left, top } = this.picture.canvas.getBoundingClientRect();
    // Lines and pages where the browser does not count in pixels.
    const pixels = event.deltaY * (event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1);
    this.picture.zoom(Math.exp(-pixels * 0.0018), event.clientX - left, event.clientY - top);
    this.showBrush(this.at(event));
  }

  private draw(spot: Spot): void {
    const [labels, value] = [this.actions.labels(), VALUES[this.tool]];
    if (!labels || !this.press || value === undefined) return;
    labels.stroke(spot.view, this.press.last, spot, this.size, value);
    this.press.last = spot;
    this.picture.relabel(spot.view);
  }

  private showBrush(spot: Spot | null): void {
    this.picture.brush = spot && { ...spot, size: VALUES[this.tool] === undefined ? 0 : this.size };
    this.picture.redraw();
  }
}
