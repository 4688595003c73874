// Draws the views side by side: counts through the window, lesions over them, captions, the brush.
import type { Labels, Lesion, Place, State } from "./labels";
import { bodyRows, drawCounts, drawStates, usualUpper } from "./layers";
import { Marks, type Corner } from "./marks";
import type { Nifti } from "./nifti";

const GAP = 2;
const MARGIN = 34;
const LARGEST = 40;

interface Pane {
  left: number;
  width: number;
  counts: HTMLCanvasElement;
  overlay: HTMLCanvasElement;
  outlines: Map<State, Path2D>;
}

/** Where the pointer is: a view and a place in its pixels, which may lie outside of the image. */
export interface Spot extends Place {
  view: number;
}

export interface Brush extends Spot {
  /** Diameter in pixels; 0 for a cross. */
  size: number;
}

export class Picture {
  inverted = true;
  overlaid = true;
  level = 0.5;
  width = 1;
  lesions: Lesion[] = [];
  selected: Lesion | null = null;
  brush: Brush | null = null;
  /** The line of a split under way. */
  cut: { view: number; from: Place; to: Place } | null = null;

  private image: Nifti | null = null;
  private labels: Labels | null = null;
  private views: string[] = [];
  private panes: Pane[] = [];
  private scale = 1;
  // What lies in the middle of the first view; of a posterior view it is the mirrored place, the same one of the body.
  private middle: Place = { row: 0, column: 0 };
  private body = { top: 0, bottom: 1 };
  private fitted = true;
  private waiting = false;
  private readonly context: CanvasRenderingContext2D;
  private readonly marks: Marks;

  constructor(readonly canvas: HTMLCanvasElement) {
    this.context = canvas.getContext("2d") as CanvasRenderingContext2D;
    this.marks = new Marks(this.context);
    if (this.usable) new ResizeObserver(() => this.resize()).observe(canvas);
  }

  /** Whether the browser lets the page draw; some are set not to. */
  get usable(): boolean {
    return Boolean(this.context);
  }

  show(image: Nifti, labels: Labels, views: string[]): void {
    [this.image, this.labels, this.views, this.selected] = [image, labels, views, null];
    this.panes = Array.from({ length: image.grid.views }, () => ({
      left: 0, width: 0, counts: this.layer(), overlay: this.layer(), outlines: new Map<State, Path2D>(),
    }));
    this.autoWindow();
    this.body = bodyRows(image);
    this.fitted = true;
    this.resize();
    this.relabel();
  }

  private layer(): HTMLCanvasElement {
    const { rows, columns } = this.image!.grid;
    return Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  }

  // --- window

  /** The brightest and darkest counts that the window may reach. */
  range = 1;

  /** From zero to what 99.5 % of the pixels with counts lie below: the bladder alone would leave the bones pale. */
  autoWindow(): void {
    const { upper, highest } = usualUpper(this.image!);
    this.range = highest;
    this.setWindow(upper / 2, upper);
  }

  setWindow(level: number, width: number): void {
    this.width = Math.min(Math.max(width, this.range / 1000), 2 * this.range);
    this.level = Math.min(Math.max(level, 0), this.range);
    this.recount();
  }

  setInverted(inverted: boolean): void {
    this.inverted = inverted;
    this.recount();
  }

  private recount(): void {
    const lower = this.level - this.width / 2;
    this.panes.forEach((pane, view) => drawCounts(pane.counts, this.image!, view, lower, this.width, this.inverted));
    this.redraw();
  }

  /** After a change of the labels: of one view, or of all. */
  relabel(only?: number): void {
    this.panes.forEach((pane, view) => {
      if (only === undefined || view === only) pane.outlines = drawStates(pane.overlay, this.labels!, view);
    });
    this.redraw();
  }

  // --- geometry; in pixels of the page

  private get aspect(): number {
    return this.image ? this.image.spacing[0] / this.image.spacing[1] : 1;
  }

  private resize(): void {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas;
    [this.canvas.width, this.canvas.height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    const width = (clientWidth - GAP * (this.panes.length - 1)) / (this.panes.length || 1);
    this.panes.forEach((pane, view) => Object.assign(pane, { left: view * (width + GAP), width }));
    if (this.fitted) this.fit();
    this.redraw();
  }

  /** The scale at which so many rows and columns of each view can be seen. */
  private scaleFor(rows: number, columns: number): number {
    return Math.min((this.canvas.clientHeight - MARGIN) / (rows * this.aspect), this.panes[0].width / columns);
  }

  private get smallest(): number {
    return this.scaleFor(this.image!.grid.rows, this.image!.grid.columns);
  }

  /** Show the whole body: often a fifth of the rows, below the feet, is empty. */
  fit(): void {
    if (!this.image || !this.canvas.clientHeight) return;
    const { top, bottom } = this.body;
    const { columns } = this.image.grid;
    this.scale = this.scaleFor(bottom - top, columns);
    this.middle = { row: (top + bottom) / 2 - MARGIN / 2 / (this.scale * this.aspect), column: columns / 2 };
    this.fitted = true;
    this.redraw();
  }

  private mirrored(view: number): boolean {
    return this.views[view] === "posterior" && this.views[0] === "anterior";
  }

  private columnInMiddle(view: number): number {
    return this.mirrored(view) ? this.image!.grid.columns - this.middle.column : this.middle.column;
  }

  private placement(view: number): Corner {
    const [pane, width, height] = [this.panes[view], this.scale, this.scale * this.aspect];
    return {
      x: pane.left + pane.width / 2 - this.columnInMiddle(view) * width,
      y: this.canvas.clientHeight / 2 - this.middle.row * height, width, height,
    };
  }

  spot(x: number, y: number, view = this.viewAt(x)): Spot | null {
    if (!this.image) return null;
    const corner = this.placement(view);
    return { view, row: (y - corner.y) / corner.height, column: (x - corner.x) / corner.width };
  }

  private viewAt(x: number): number {
    const view = this.panes.findIndex((pane) => x < pane.left + pane.width + GAP);
    return view < 0 ? this.panes.length - 1 : view;
  }

  /** Zoom so that what lies under a place of the page stays there; without one, about the middle. */
  zoom(factor: number, x?: number, y?: number): void {
    if (!this.image) return;
    const scale = Math.min(LARGEST, Math.max(this.smallest, this.scale * factor));
    const before = x === undefined || y === undefined ? null : this.spot(x, y);
    this.scale = scale;
    if (before) {
      const after = this.spot(x!, y!, before.view)!;
      this.shift(before.view, before.row - after.row, before.column - after.column);
    }
    this.fitted = false;
    this.redraw();
  }

  /** Move all views along with one that is dragged; x and y in pixels of the page. */
  pan(view: number, x: number, y: number): void {
    if (!this.image) return;
    this.fitted = false;
    this.shift(view, -y / (this.scale * this.aspect), -x / this.scale);
    this.redraw();
  }

  private shift(view: number, rows: number, columns: number): void {
    const { grid } = this.image!;
    const bounded = (value: number, last: number) => Math.min(last, Math.max(0, value));
    const right = this.mirrored(view) ? -columns : columns;
    this.middle = {
      row: bounded(this.middle.row + rows, grid.rows), column: bounded(this.middle.column + right, grid.columns),
    };
  }

  /** Bring a lesion to the middle, large enough to see its edge. */
  goTo(lesion: Lesion): void {
    this.selected = lesion;
    const extent = Math.max(lesion.bottom - lesion.top, lesion.right - lesion.left) + 1;
    const wished = Math.max(this.scale, 2.2 * this.smallest);
    const largest = (0.5 * Math.min(this.panes[0].width, this.canvas.clientHeight)) / extent;
    this.scale = Math.max(this.smallest, Math.min(LARGEST, wished, largest));
    const { columns } = this.image!.grid;
    const column = lesion.center.column + 0.5;
    this.middle = { row: lesion.center.row + 0.5, column: this.mirrored(lesion.view) ? columns - column : column };
    this.fitted = false;
    this.redraw();
  }

  // --- drawing

  redraw(): void {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  private draw(): void {
    const { context, canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const style = getComputedStyle(canvas);
    context.fillStyle = style.getPropertyValue("--around");
    context.fillRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    if (!this.image) return;
    this.marks.inverted = this.inverted;
    this.panes.forEach((pane, view) => {
      context.save();
      context.beginPath();
      context.rect(pane.left, 0, pane.width, canvas.clientHeight);
      context.clip();
      context.fillStyle = this.inverted ? "#ffffff" : "#000000";
      context.fillRect(pane.left, 0, pane.width, canvas.clientHeight);
      this.drawView(pane, view);
      this.marks.captions(this.views[view], view, pane.left, pane.width);
      context.restore();
    });
    const corners = this.panes.map((_, view) => this.placement(view));
    canvas.dataset.placement = JSON.stringify(corners);
  }

  private drawView(pane: Pane, view: number): void {
    const { context } = this;
    const { rows, columns } = this.image!.grid;
    const corner = this.placement(view);
    const area = [corner.x, corner.y, columns * corner.width, rows * corner.height] as const;
    // Large pixels are shown as they are: that is what is painted.
    context.imageSmoothingEnabled = corner.width < 5;
    context.imageSmoothingQuality = "high";
    context.drawImage(pane.counts, ...area);
    context.strokeStyle = "rgba(128,138,150,0.35)";
    context.strokeRect(area[0] - 0.5, area[1] - 0.5, area[2] + 1, area[3] + 1);
    if (this.overlaid) {
      context.imageSmoothingEnabled = false;
      context.drawImage(pane.overlay, ...area);
      this.marks.outlines(pane.outlines, corner);
      this.lesions.forEach((lesion, number) => {
        if (lesion.view === view) this.marks.lesion(lesion, number + 1, lesion === this.selected, corner);
      });
    }
    this.drawBrush(view, corner);
  }

  private drawBrush(view: number, corner: Corner): void {
    const { brush, cut } = this;
    if (cut && cut.view === view) this.marks.cut(cut.from, cut.to, corner);
    if (!brush) return;
    if (brush.view === view) {
      if (brush.size) this.marks.brush(brush, brush.size, corner);
    } else {
      const across = this.mirrored(view) !== this.mirrored(brush.view);
      const column = across ? this.image!.grid.columns - brush.column : brush.column;
      this.marks.cross({ row: brush.row, column }, corner);
    }
  }
}
