// Reads the images and labels that the server gives, and writes labels on the image's own grid.
//
// The server's files hold [row, column] or [row, column, view], first index fastest, rows from head to feet, as
// displayed. In here pixels are kept view by view and row by row: index = (view * rows + row) * columns + column.

export interface Grid {
  rows: number;
  columns: number;
  views: number;
}

export interface Nifti {
  grid: Grid;
  /** Size of a pixel in mm: rows, columns. */
  spacing: [number, number];
  pixels: Float32Array;
  /** The 348 bytes of the header, for `writeLabel`. */
  header: Uint8Array;
}

type Reader = (view: DataView, offset: number, little: boolean) => number;

// NIfTI-1 datatype → bytes and how to read one value.
const TYPES: Record<number, [number, Reader]> = {
  2: [1, (view, offset) => view.getUint8(offset)],
  4: [2, (view, offset, little) => view.getInt16(offset, little)],
  8: [4, (view, offset, little) => view.getInt32(offset, little)],
  16: [4, (view, offset, little) => view.getFloat32(offset, little)],
  64: [8, (view, offset, little) => view.getFloat64(offset, little)],
  256: [1, (view, offset) => view.getInt8(offset)],
  512: [2, (view, offset, little) => view.getUint16(offset, little)],
  768: [4, (view, offset, little) => view.getUint32(offset, little)],
};
const HEADER = 348;
const OFFSET = 352;

export async function readNifti(content: Blob): Promise<Nifti> {
  const buffer = await unpacked(content);
  const view = new DataView(buffer);
  const little = buffer.byteLength > OFFSET && view.getInt32(0, true) === HEADER;
  if (buffer.byteLength < OFFSET || (!little && view.getInt32(0, false) !== HEADER)) {
    throw new Error("the server's file is not NIfTI-1");
  }
  const rank = view.getInt16(40, little);
  const [rows, columns, views] = [1, 2, 3].map((axis) => (axis <= rank ? view.getInt16(40 + 2 * axis, little) : 1));
  const type = TYPES[view.getInt16(70, little)];
  const start = view.getFloat32(108, little);
  const count = rows * columns * views;
  if (!type || rank < 2 || rank > 3 || buffer.byteLength < start + count * type[0]) {
    throw new Error("the server's image has a type or size that is not supported");
  }
  const slope = view.getFloat32(112, little) || 1;
  const intercept = view.getFloat32(116, little) || 0;
  const [bytes, read] = type;
  const pixels = new Float32Array(count);
  let offset = start;
  for (let image = 0; image < views; image++) {
    for (let column = 0; column < columns; column++) {
      for (let row = 0; row < rows; row++, offset += bytes) {
        pixels[(image * rows + row) * columns + column] = read(view, offset, little) * slope + intercept;
      }
    }
  }
  const spacing: [number, number] = [view.getFloat32(80, little) || 1, view.getFloat32(84, little) || 1];
  return { grid: { rows, columns, views }, spacing, pixels, header: new Uint8Array(buffer.slice(0, HEADER)) };
}

/** A label as .nii.gz: the image's header, affine included, with one unsigned byte a pixel. */
export async function writeLabel(image: Nifti, label: Uint8Array): Promise<Blob> {
  const { rows, columns, views } = image.grid;
  const file = new Uint8Array(OFFSET + label.length);
  file.set(image.header);
  const view = new DataView(file.buffer);
  const little = view.getInt32(0, true) === HEADER;
  view.setInt16(70, 2, little);
  view.setInt16(72, 8, little);
  view.setFloat32(108, OFFSET, little);
  // No scaling, and no display range of the counts.
  for (const [offset, value] of [[112, 1], [116, 0], [124, 0], [128, 0]]) view.setFloat32(offset, value, little);
  let place = OFFSET;
  for (let number = 0; number < views; number++) {
    for (let column = 0; column < columns; column++) {
      for (let row = 0; row < rows; row++) file[place++] = label[(number * rows + row) * columns + column];
    }
  }
  return new Response(new Blob([file]).stream().pipeThrough(new CompressionStream("gzip"))).blob();
}

async function unpacked(content: Blob): Promise<ArrayBuffer> {
  const start = new Uint8Array(await content.slice(0, 2).arrayBuffer());
  if (start[0] !== 0x1f || start[1] !== 0x8b) return content.arrayBuffer();
  return new Response(content.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
