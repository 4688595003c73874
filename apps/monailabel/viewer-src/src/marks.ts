// What is drawn over the pixels: lesions' outlines and numbers, captions, the brush; in pixels of the page.
import type { Lesion, Place, State } from "./labels";

const SIDES: Record<string, [string, string]> = { anterior: ["R", "L"], posterior: ["L", "R"] };
const NAMES: Record<string, string> = { anterior: "Anterior", posterior: "Posterior" };

// Seen apart also by those who do not tell red from green: filled, outlined only, hatched.
const ON_WHITE = { lesion: "#d3222a", proposed: "#d27b00", ignored: "#1668d6", rejected: "#7a8694" };
const ON_BLACK = { lesion: "#ff5a60", proposed: "#ffab33", ignored: "#6aa8ff", rejected: "#9aa6b4" };

/** Corner of a view's first pixel, and the size of a pixel. */
export interface Corner {
  x: number;
  y: number;
  width: number;
  height: number;
}

export class Marks {
  /** Whether the paper is white and counts are dark. */
  inverted = true;

  constructor(private readonly context: CanvasRenderingContext2D) {}

  /** Paths are in pixels of the scan. */
  outlines(paths: Map<State, Path2D>, corner: Corner): void {
    const { context } = this;
    context.save();
    context.translate(corner.x, corner.y);
    context.scale(corner.width, corner.height);
    context.lineCap = "square";
    for (const [state, path] of paths) {
      context.strokeStyle = this.inverted ? "rgba(255,255,255,0.6)" : "rgba(0,0,0,0.6)";
      context.lineWidth = 3 / corner.width;
      context.stroke(path);
      context.strokeStyle = this.colors[state];
      context.lineWidth = 1.7 / corner.width;
      context.stroke(path);
    }
    context.restore();
  }

  /** The lesion's number in the list, and corners around the one that is selected. */
  lesion(lesion: Lesion, number: number, selected: boolean, corner: Corner): void {
    if (lesion.state === "rejected" && !selected) return;
    const { context } = this;
    const [left, right] = [corner.x + lesion.left * corner.width - 5, corner.x + (lesion.right + 1) * corner.width + 5];
    const [top, bottom] = [corner.y + lesion.top * corner.height - 5, corner.y + (lesion.bottom + 1) * corner.height + 5];
    if (selected) {
      const arm = Math.min(10, (right - left) / 3, (bottom - top) / 3);
      context.beginPath();
      for (const [x, y, sx, sy] of [[left, top, 1, 1], [right, top, -1, 1], [left, bottom, 1, -1], [right, bottom, -1, -1]]) {
        context.moveTo(x + sx * arm, y);
        context.lineTo(x, y);
        context.lineTo(x, y + sy * arm);
      }
      context.strokeStyle = this.inverted ? "#111827" : "#ffffff";
      context.lineWidth = 2;
      context.stroke();
    }
    context.textAlign = "left";
    this.write(String(number), right + 2, top + 6, 12, this.colors[lesion.state]);
  }

  /** The line of a split under way. */
  cut(from: Place, to: Place, corner: Corner): void {
    this.context.beginPath();
    this.context.moveTo(...onPage(from, corner));
    this.context.lineTo(...onPage(to, corner));
    this.twice(4, 2);
  }

  /** The brush's edge; `size` is its diameter in pixels of the scan. */
  brush(place: Place, size: number, corner: Corner): void {
    const [x, y] = onPage(place, corner);
    this.context.beginPath();
    this.context.ellipse(x, y, (size / 2) * corner.width, (size / 2) * corner.height, 0, 0, 2 * Math.PI);
    this.twice(2.5, 1);
  }

  /** A cross where the pointer's place of the body is in another view. */
  cross(place: Place, corner: Corner): void {
    const [x, y] = onPage(place, corner);
    this.context.beginPath();
    for (const [right, down] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      this.context.moveTo(x + 4 * right, y + 4 * down);
      this.context.lineTo(x + 10 * right, y + 10 * down);
    }
    this.twice(3, 1);
  }

  /** Name and sides of a view that lies between two places of the page. */
  captions(name: string | undefined, view: number, from: number, width: number): void {
    const color = this.inverted ? "#1f2937" : "#e5e7eb";
    const [left, right] = SIDES[name ?? ""] ?? ["", ""];
    this.context.textAlign = "center";
    this.write(NAMES[name ?? ""] ?? `View ${view + 1}`, from + width / 2, 17, 14, color);
    this.context.textAlign = "left";
    this.write(left, from + 12, 20, 20, color);
    this.context.textAlign = "right";
    this.write(right, from + width - 12, 20, 20, color);
  }

  private get colors(): Record<State, string> {
    return this.inverted ? ON_WHITE : ON_BLACK;
  }

  /** A dark line with a bright edge is seen on every ground. */
  private twice(outer: number, inner: number): void {
    const { context } = this;
    context.strokeStyle = "#ffffff";
    context.lineWidth = outer;
    context.stroke();
    context.strokeStyle = "#111827";
    context.lineWidth = inner;
    context.stroke();
  }

  private write(text: string, x: number, y: number, size: number, color: string): void {
    const { context } = this;
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 3.5;
    context.strokeStyle = this.inverted ? "rgba(255,255,255,0.9)" : "rgba(0,0,0,0.85)";
    context.strokeText(text, x, y);
    context.fillStyle = color;
    context.fillText(text, x, y);
  }
}

function onPage({ row, column }: Place, corner: Corner): [number, number] {
  return [corner.x + column * corner.width, corner.y + row * corner.height];
}
