// The label map with its proposed lesions, and every change to it, so that all of them can be undone.
import type { Grid } from "./nifti";
import type { Finding } from "./server";

// A pixel is in one of four states. Only the first three are saved; a proposed pixel waits for a decision.
export const BACKGROUND = 0;
export const LESION = 1;
export const IGNORE = 2;
export const PROPOSED = 4;

export type State = "lesion" | "ignored" | "proposed" | "rejected";
const STATES: [number, State][] = [[LESION, "lesion"], [PROPOSED, "proposed"], [IGNORE, "ignored"]];

export interface Place {
  row: number;
  column: number;
}

export interface Region {
  view: number;
  places: number[];
  /** Centroid. */
  center: Place;
  top: number;
  left: number;
  bottom: number;
  right: number;
}

export interface Lesion extends Region {
  state: State;
  /** What the network said of it; null if an annotator drew it. */
  finding: Finding | null;
}

interface Findings {
  regions: { region: Region; finding: Finding | null }[];
  /** Pixel → 1 + index of the region it was proposed in, 0 for none. */
  of: Uint16Array;
}

interface Step {
  what: string;
  places: Uint32Array;
  before: Uint8Array;
  after: Uint8Array;
  findings?: { before: Findings; after: Findings };
}

export class Labels {
  readonly pixels: Uint8Array;
  private findings: Findings;
  private done: Step[] = [];
  private undone: Step[] = [];
  private open: Map<number, number> | null = null;
  private saved: Uint8Array;

  constructor(readonly grid: Grid, saved: ArrayLike<number> | null) {
    this.pixels = new Uint8Array(grid.rows * grid.columns * grid.views);
    if (saved) this.pixels.set(saved);
    this.saved = this.label();
    this.findings = { regions: [], of: new Uint16Array(this.pixels.length) };
  }

  index(view: number, row: number, column: number): number {
    return (view * this.grid.rows + row) * this.grid.columns + column;
  }

  /** What is saved: 0 background, 1 lesion, 2 ignore. */
  label(): Uint8Array {
    return this.pixels.map((value) => (value === PROPOSED ? BACKGROUND : value));
  }

  markSaved(label: Uint8Array): void {
    this.saved = label;
  }

  get changed(): boolean {
    return this.pixels.some((value, index) => (value === PROPOSED ? BACKGROUND : value) !== this.saved[index]);
  }

  // --- changes; those between `begin` and `end` are one step for undo

  begin(): void {
    this.open = new Map();
  }

  set(index: number, value: number): void {
    const before = this.pixels[index];
    if (before === value || !this.open) return;
    if (!this.open.has(index)) this.open.set(index, before);
    this.pixels[index] = value;
  }

  end(what: string, findings?: Findings): void {
    const changes = [...(this.open ?? [])].filter(([index, before]) => this.pixels[index] !== before);
    this.open = null;
    if (!changes.length && !findings) return;
    const places = Uint32Array.from(changes, ([index]) => index);
    const step: Step = {
      what, places, before: Uint8Array.from(changes, ([, before]) => before),
      after: Uint8Array.from(places, (index) => this.pixels[index]),
    };
    if (findings) {
      step.findings = { before: this.findings, after: findings };
      this.findings = findings;
    }
    this.done.push(step);
    this.undone = [];
  }

  /** Take back what was changed since `begin`. */
  abort(): void {
    for (const [index, before] of this.open ?? []) this.pixels[index] = before;
    this.open = null;
  }

  get undoable(): string | null {
    return this.done.length ? this.done[this.done.length - 1].what : null;
  }

  get redoable(): string | null {
    return this.undone.length ? this.undone[this.undone.length - 1].what : null;
  }

  undo(): string | null {
    const step = this.open ? undefined : this.done.pop();
    if (!step) return null;
    step.places.forEach((index, number) => (this.pixels[index] = step.before[number]));
    if (step.findings) this.findings = step.findings.before;
    this.undone.push(step);
    return step.what;
  }

  redo(): string | null {
    const step = this.open ? undefined : this.undone.pop();
    if (!step) return null;
    step.places.forEach((index, number) => (this.pixels[index] = step.after[number]));
    if (step.findings) this.findings = step.findings.after;
    this.done.push(step);
    return step.what;
  }

  /** Set all pixels that are nearer than half of `size` to the line between two places of a view. */
  stroke(view: number, from: Place, to: Place, size: number, value: number): void {
    const reach = size / 2;
    const [height, width] = [to.row - from.row, to.column - from.column];
    const length = height * height + width * width;
    const [top, bottom] = [Math.min(from.row, to.row) - reach, Math.max(from.row, to.row) + reach];
    const [left, right] = [Math.min(from.column, to.column) - reach, Math.max(from.column, to.column) + reach];
    for (let row = Math.max(0, Math.floor(top)); row <= Math.min(this.grid.rows - 1, bottom); row++) {
      for (let column = Math.max(0, Math.floor(left)); column <= Math.min(this.grid.columns - 1, right); column++) {
        // From the pixel's center to the nearest point of the line.
        const [y, x] = [row + 0.5 - from.row, column + 0.5 - from.column];
        const along = length ? Math.min(1, Math.max(0, (y * height + x * width) / length)) : 0;
        if (Math.hypot(y - along * height, x - along * width) <= reach) this.set(this.index(view, row, column), value);
      }
    }
    // The thinnest brush may run between centers.
    for (const { row, column } of line(from, to)) {
      if (this.inside(row, column)) this.set(this.index(view, row, column), value);
    }
  }

  /** Cut lesions and proposed lesions along a line, which becomes background; whether there was one. */
  split(view: number, from: Place, to: Place): boolean {
    let cut = false;
    for (const { row, column } of line(from, to)) {
      if (!this.inside(row, column)) continue;
      const index = this.index(view, row, column);
      if (this.pixels[index] !== LESION && this.pixels[index] !== PROPOSED) continue;
      this.set(index, BACKGROUND);
      cut = true;
    }
    return cut;
  }

  private inside(row: number, column: number): boolean {
    return row >= 0 && column >= 0 && row < this.grid.rows && column < this.grid.columns;
  }

  /** Set all pixels of a region, as one step. */
  fill(lesions: Region[], value: number, what: string): void {
    this.begin();
    for (const { places } of lesions) for (const index of places) this.set(index, value);
    this.end(what);
  }

  /** Replace the whole label, as one step. */
  replace(label: ArrayLike<number>, what: string): void {
    this.begin();
    for (let index = 0; index < this.pixels.length; index++) this.set(index, label[index]);
    this.end(what);
  }

  // --- lesions

  /** Take in a proposal as one step; lesions that are labeled for the most part already are not proposed again. */
  propose(mask: ArrayLike<number>, findings: Finding[], views: string[]): number {
    const found = regions(this.grid, mask, LESION);
    const of = new Uint16Array(this.pixels.length);
    const kept: Findings["regions"] = [];
    this.begin();
    for (let index = 0; index < this.pixels.length; index++) {
      if (this.pixels[index] === PROPOSED) this.set(index, BACKGROUND);
    }
    let proposed = 0;
    for (const region of found) {
      kept.push({ region, finding: nearest(region, findings, views) });
      for (const index of region.places) of[index] = kept.length;
      const labeled = region.places.filter((index) => this.pixels[index] !== BACKGROUND).length;
      if (2 * labeled >= region.places.length) continue;
      proposed++;
      for (const index of region.places) if (this.pixels[index] === BACKGROUND) this.set(index, PROPOSED);
    }
    this.end("proposal", { regions: kept, of });
    return proposed;
  }

  /** All lesions, view by view and from head to feet. */
  lesions(): Lesion[] {
    const result: Lesion[] = [];
    const { regions: proposals, of } = this.findings;
    for (const [value, state] of STATES) {
      for (const region of regions(this.grid, this.pixels, value)) {
        const votes = new Map<number, number>();
        for (const index of region.places) if (of[index]) votes.set(of[index], (votes.get(of[index]) ?? 0) + 1);
        const [number] = [...votes].sort((one, other) => other[1] - one[1])[0] ?? [0];
        result.push({ ...region, state, finding: number ? proposals[number - 1].finding : null });
      }
    }
    for (const { region, finding } of proposals) {
      if (region.places.every((index) => this.pixels[index] === BACKGROUND)) {
        result.push({ ...region, state: "rejected", finding });
      }
    }
    return result.sort((one, other) => one.view - other.view || one.center.row - other.center.row);
  }
}

/** Connected regions (over edges and corners) of the pixels with a value. */
function regions(grid: Grid, pixels: ArrayLike<number>, value: number): Region[] {
  const { rows, columns, views } = grid;
  const seen = new Uint8Array(rows * columns * views);
  const result: Region[] = [];
  for (let start = 0; start < seen.length; start++) {
    if (pixels[start] !== value || seen[start]) continue;
    const view = Math.floor(start / (rows * columns));
    const [region, first] = [{ view, places: [start], top: rows, left: columns, bottom: 0, right: 0 }, view * rows];
    let [rowSum, columnSum] = [0, 0];
    seen[start] = 1;
    for (let next = 0; next < region.places.length; next++) {
      const row = Math.floor(region.places[next] / columns) - first;
      const column = region.places[next] % columns;
      [rowSum, columnSum] = [rowSum + row, columnSum + column];
      [region.top, region.bottom] = [Math.min(region.top, row), Math.max(region.bottom, row)];
      [region.left, region.right] = [Math.min(region.left, column), Math.max(region.right, column)];
      for (let r = Math.max(0, row - 1); r <= Math.min(rows - 1, row + 1); r++) {
        for (let c = Math.max(0, column - 1); c <= Math.min(columns - 1, column + 1); c++) {
          const index = (first + r) * columns + c;
          if (pixels[index] !== value || seen[index]) continue;
          seen[index] = 1;
          region.places.push(index);
        }
      }
    }
    const count = region.places.length;
    result.push({ ...region, center: { row: rowSum / count, column: columnSum / count } });
  }
  return result;
}

/** The finding whose centroid is the region's, to the rounding of the server. */
function nearest(region: Region, findings: Finding[], views: string[]): Finding | null {
  const distance = (finding: Finding) =>
    Math.hypot(finding.row - region.center.row, finding.column - region.center.column);
  const near = findings.filter((finding) => finding.view === views[region.view] && distance(finding) < 0.5);
  return near.sort((one, other) => distance(one) - distance(other))[0] ?? null;
}

/** The pixels of a line, each sharing an edge with the next, so that regions on its two sides do not touch. */
function line(from: Place, to: Place): Place[] {
  let [row, column] = [Math.floor(from.row), Math.floor(from.column)];
  const [lastRow, lastColumn] = [Math.floor(to.row), Math.floor(to.column)];
  const [height, width] = [Math.abs(lastRow - row), Math.abs(lastColumn - column)];
  const [down, right] = [Math.sign(lastRow - row), Math.sign(lastColumn - column)];
  const places = [{ row, column }];
  for (let y = 0, x = 0; y < height || x < width; ) {
    // One step along the axis that lags behind the true line.
    if (x >= width || (y < height && (0.5 + y) / height < (0.5 + x) / width)) [row, y] = [row + down, y + 1];
    else [column, x] = [column + right, x + 1];
    places.push({ row, column });
  }
  return places;
}
