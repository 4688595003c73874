// The tools and how the picture is shown: the row of buttons and sliders above it.
import { element, press } from "./page";
import type { Picture } from "./picture";
import type { Pointer, Tool } from "./pointer";
import { remember, remembered } from "./settings";

export class Toolbar {
  constructor(private readonly picture: Picture, private readonly pointer: Pointer) {}

  /** Begin as this browser was left; `opened` tells whether a scan is open. */
  listen(opened: () => boolean): void {
    const { picture } = this;
    const range = (id: string, change: (value: number) => void) => {
      const input = element<HTMLInputElement>(id);
      input.oninput = () => change(Number(input.value));
    };
    range("size", (value) => this.setSize(value));
    range("window", (value) => opened() && picture.setWindow(picture.level, 2 * picture.range * (value / 1000) ** 3));
    range("level", (value) => opened() && picture.setWindow(picture.range * (value / 1000) ** 3, picture.width));
    element("tools").onclick = (event) => {
      const tool = (event.target as Element).closest<HTMLElement>("[data-tool]")?.dataset.tool;
      if (tool) this.setTool(tool as Tool);
    };
    this.setTool("move");
    this.setSize(Number(remembered("size")) || 6);
    this.setBright(remembered("bright") === "yes");
  }

  setTool(tool: Tool): void {
    const { pointer } = this;
    if (pointer.busy) pointer.drop();
    pointer.tool = tool;
    this.picture.canvas.dataset.tool = tool;
    for (const button of element("tools").children) press(button as HTMLElement, (button as HTMLElement).dataset.tool === tool);
  }

  setSize(size: number): void {
    const { picture, pointer } = this;
    pointer.size = Math.min(40, Math.max(1, size));
    element<HTMLInputElement>("size").value = element("size-shown").textContent = String(pointer.size);
    remember("size", String(pointer.size));
    if (picture.brush?.size) picture.brush.size = pointer.size;
    picture.redraw();
  }

  /** Hot is bright, on a dark page, or the other way round. */
  setBright(bright: boolean): void {
    document.body.classList.toggle("dark", bright);
    press(element("invert"), bright);
    this.picture.setInverted(!bright);
    this.picture.redraw();
    remember("bright", bright ? "yes" : "");
  }

  setHidden(hidden: boolean): void {
    this.picture.overlaid = !hidden;
    press(element("hide"), hidden);
    this.picture.redraw();
  }

  showWindow(): void {
    const { picture } = this;
    // Cubes: a bladder may hold fifty times the counts of the bones, whose window shall not be a hair's breadth.
    element<HTMLInputElement>("window").value = String(1000 * Math.cbrt(picture.width / (2 * picture.range)));
    element<HTMLInputElement>("level").value = String(1000 * Math.cbrt(picture.level / picture.range));
  }
}
