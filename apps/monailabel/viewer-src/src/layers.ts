// What lies under the captions, in pixels of the scan: counts as gray, and the states of the label map as colors.
import { IGNORE, LESION, PROPOSED, type Labels, type State } from "./labels";
import type { Nifti } from "./nifti";

const FILLS: Record<number, [number, number, number]> = { [LESION]: [211, 34, 42], [IGNORE]: [22, 104, 214] };

/** Draw the counts of a view through the window that begins at `lower`. */
export function drawCounts(
  canvas: HTMLCanvasElement, image: Nifti, view: number, lower: number, width: number, inverted: boolean,
): void {
  const data = new ImageData(canvas.width, canvas.height);
  const words = new Uint32Array(data.data.buffer);
  for (let index = 0; index < words.length; index++) {
    const share = (image.pixels[view * words.length + index] - lower) / width;
    const bright = Math.round(255 * Math.min(1, Math.max(0, share)));
    words[index] = 0xff000000 | ((inverted ? 255 - bright : bright) * 0x010101);
  }
  canvas.getContext("2d")!.putImageData(data, 0, 0);
}

/** Fill the lesions and what is unsure in a view; the outlines of all states, in pixels of the scan. */
export function drawStates(canvas: HTMLCanvasElement, labels: Labels, view: number): Map<State, Path2D> {
  const { grid: { rows, columns }, pixels } = labels;
  const data = new ImageData(columns, rows);
  const paths = new Map([LESION, IGNORE, PROPOSED].map((state) => [state, new Path2D()]));
  const first = view * rows * columns;
  for (let index = 0; index < rows * columns; index++) {
    const state = pixels[first + index];
    if (!state) continue;
    const [row, column] = [Math.floor(index / columns), index % columns];
    if (state !== PROPOSED) {
      const alpha = state === LESION ? 70 : (row + column) % 4 < 2 ? 120 : 20;
      data.data.set([...FILLS[state], alpha], 4 * index);
    }
    const path = paths.get(state)!;
    const edge = (other: number, outside: boolean, x: number, y: number, right: number, down: number) => {
      if (!outside && pixels[first + other] === state) return;
      path.moveTo(x, y);
      path.lineTo(x + right, y + down);
    };
    edge(index - columns, row === 0, column, row, 1, 0);
    edge(index + columns, row === rows - 1, column, row + 1, 1, 0);
    edge(index - 1, column === 0, column, row, 0, 1);
    edge(index + 1, column === columns - 1, column + 1, row, 0, 1);
  }
  canvas.getContext("2d")!.putImageData(data, 0, 0);
  return new Map([["lesion", paths.get(LESION)!], ["ignored", paths.get(IGNORE)!], ["proposed", paths.get(PROPOSED)!]]);
}

/** What 99.5 % of the pixels with counts lie below, and the highest count. */
export function usualUpper(image: Nifti): { upper: number; highest: number } {
  const counts = image.pixels.filter((value) => value > 0).sort();
  if (!counts.length) return { upper: 1, highest: 1 };
  return { upper: counts[Math.floor((counts.length - 1) * 0.995)], highest: counts[counts.length - 1] };
}

/** The rows that hold a body, with a margin: those with a fiftieth of the counts of the median row that has any. */
export function bodyRows({ grid, pixels }: Nifti): { top: number; bottom: number } {
  const sums = new Float64Array(grid.rows);
  pixels.forEach((value, index) => (sums[Math.floor(index / grid.columns) % grid.rows] += value));
  const counted = sums.filter((sum) => sum > 0).sort();
  const limit = counted.length ? counted[counted.length >> 1] / 50 : 0;
  const rows = [...sums.keys()].filter((row) => sums[row] > limit);
  if (!rows.length) return { top: 0, bottom: grid.rows };
  const margin = grid.rows / 64;
  return { top: Math.max(0, rows[0] - margin), bottom: Math.min(grid.rows, rows[rows.length - 1] + 1 + margin) };
}
