// The open scan: its image and labels, what the server has of it, and saving without overwriting anybody.
import { Labels, PROPOSED, type Lesion } from "./labels";
import { readNifti, writeLabel, type Nifti } from "./nifti";
import { Refused, type Server, type Version } from "./server";

export class Scan {
  lesions: Lesion[] = [];
  selected: Lesion | null = null;

  private constructor(
    private readonly server: Server, readonly id: string, readonly views: string[], readonly image: Nifti,
    readonly labels: Labels,
    /** The version that the annotator has started from; 0 for none. */
    public base: number,
  ) {}

  static async open(server: Server, id: string, views: string[]): Promise<Scan> {
    // The history first: a label saved by another after it is met as a conflict, never taken for an older one.
    const last = await newest(server, id);
    const image = await readNifti(await server.image(id));
    const saved = last && last.action !== "removed" ? await pixelsOf(await server.label(id), image) : null;
    const scan = new Scan(server, id, views, image, new Labels(image.grid, saved), last?.version ?? 0);
    scan.refresh();
    return scan;
  }

  /** Area of a pixel in mm², if the scan says so. */
  get pixelArea(): number | null {
    const [rows, columns] = this.image.spacing;
    return rows === 1 && columns === 1 ? null : rows * columns;
  }

  /** Whether something would be lost by leaving; a look without any lesions is something, until it is saved. */
  get unsaved(): boolean {
    return this.labels.changed || (this.base === 0 && this.labels.undoable !== null);
  }

  get undecided(): Lesion[] {
    return this.lesions.filter((lesion) => lesion.state === "proposed");
  }

  /** Find the lesions anew after a change; what was selected stays so if something of it is left. */
  refresh(): void {
    const before = this.selected;
    this.lesions = this.labels.lesions();
    const places = new Set(before?.places);
    this.selected = before && (this.lesions.find((lesion) => lesion.places.some((index) => places.has(index))) ?? null);
  }

  lesionAt(index: number): Lesion | null {
    return this.lesions.find((lesion) => lesion.state !== "rejected" && lesion.places.includes(index)) ?? null;
  }

  /** The lesion before or after the selected one, of those that a test chooses. */
  neighbor(step: 1 | -1, chosen: (lesion: Lesion) => boolean = () => true): Lesion | null {
    const start = this.selected ? this.lesions.indexOf(this.selected) : step > 0 ? -1 : this.lesions.length;
    const { length } = this.lesions;
    for (let count = 1; count <= length; count++) {
      const lesion = this.lesions[(start + step * count + 2 * length) % length];
      if (chosen(lesion)) return lesion;
    }
    return null;
  }

  async propose(model: string): Promise<number> {
    const { label, lesions } = await this.server.propose(model, this.id);
    return this.labels.propose(await pixelsOf(label, this.image), lesions, this.views);
  }

  restore(lesion: Lesion): void {
    this.labels.fill([lesion], PROPOSED, "proposal");
  }

  /** Save; the version, or the server's words if the label has changed since `base`. */
  async save(client: string): Promise<{ version: number; conflict: null } | { version: 0; conflict: string }> {
    const label = this.labels.label();
    try {
      const { version } = await this.server.save(this.id, await writeLabel(this.image, label), this.base, client);
      this.base = version;
      this.labels.markSaved(label);
      return { version, conflict: null };
    } catch (error) {
      if (error instanceof Refused && error.status === 409) return { version: 0, conflict: error.message };
      throw error;
    }
  }

  /** From now on this label comes after the newest one; with `load` that one is put in its place, which undo takes back. */
  async catchUp(load: boolean): Promise<void> {
    const last = await newest(this.server, this.id);
    if (load) {
      const removed = !last || last.action === "removed";
      const label = removed ? new Uint8Array(this.labels.pixels.length) : await this.version(last.version);
      this.labels.replace(label, `version ${last?.version ?? 0}`);
      this.labels.markSaved(this.labels.label());
    }
    this.base = last?.version ?? 0;
  }

  async version(number: number): Promise<ArrayLike<number>> {
    return pixelsOf(await this.server.olderLabel(this.id, number), this.image);
  }

  async versions(): Promise<Version[]> {
    return (await this.server.history(this.id)).filter((version) => version.tag === "final");
  }
}

async function newest(server: Server, id: string): Promise<Version | undefined> {
  return (await server.history(id)).filter((version) => version.tag === "final").pop();
}

async function pixelsOf(content: Blob, image: Nifti): Promise<ArrayLike<number>> {
  const { grid, pixels } = await readNifti(content);
  if (grid.rows !== image.grid.rows || grid.columns !== image.grid.columns || grid.views !== image.grid.views) {
    throw new Error("the server's label has another size than its image");
  }
  return pixels;
}
