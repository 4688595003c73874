// What the server offers: networks that propose lesions, and strategies for the next scan.
import { element } from "./page";
import { isScan, type Info } from "./server";
import { remember, remembered } from "./settings";

export class Offers {
  private readonly strategies = element<HTMLSelectElement>("strategy");
  private readonly models = element<HTMLSelectElement>("model");
  private readonly wanted = element<HTMLInputElement>("always");
  private abouts: Record<string, string> = {};

  get strategy(): string {
    return this.strategies.value;
  }

  /** Name of the network; empty where none has weights. */
  get model(): string {
    return this.models.value;
  }

  /** Whether lesions are proposed as soon as a scan without label is opened. */
  get always(): boolean {
    return this.wanted.checked && this.model !== "";
  }

  /** Begin as this browser was left. */
  listen(): void {
    this.wanted.checked = remembered("always") === "yes";
    this.wanted.onchange = () => remember("always", this.wanted.checked ? "yes" : "");
    this.strategies.onchange = () => {
      remember("strategy", this.strategy);
      this.explain();
    };
    this.models.onchange = () => remember("model", this.model);
  }

  show({ models, strategies }: Info): void {
    // What learns the most comes first; then those that do not look at the scans.
    const plain = ["random", "first"];
    const names = Object.keys(strategies).sort((one, other) => plain.indexOf(one) - plain.indexOf(other));
    fill(this.strategies, names, remembered("strategy"));
    this.abouts = Object.fromEntries(names.map((name) => [name, strategies[name].description ?? ""]));
    this.explain();
    fill(this.models, Object.keys(models).filter((name) => isScan(models[name])), remembered("model"));
    this.models.hidden = this.models.options.length < 2;
    element("propose").textContent = this.model ? "Propose lesions" : "No network has weights yet";
  }

  private explain(): void {
    element("strategy-about").textContent = element("strategy-about").title = this.abouts[this.strategy] ?? "";
  }
}

function fill(menu: HTMLSelectElement, names: string[], habit: string): void {
  const wished = menu.value || habit;
  menu.replaceChildren(...names.map((name) => new Option(name.replace(/_/g, " "), name)));
  if (names.includes(wished)) menu.value = wished;
}
