// Keys of the whole page.
import { dialogOpen } from "./page";

export type Commands = Record<string, () => void>;

/** Listen: `commands` by key, such as "b" or "ctrl shift z"; `hold` is told when the space bar goes down and up. */
export function listenToKeys(commands: Commands, hold: (held: boolean) => void): void {
  document.onkeydown = (event) => {
    const target = event.target as HTMLElement;
    const slider = target instanceof HTMLInputElement && target.type === "range";
    const key = event.key.toLowerCase();
    // Where keys have a meaning of their own: questions, menus, sliders.
    if (dialogOpen() || target instanceof HTMLSelectElement || event.altKey || (slider && key.startsWith("arrow"))) return;
    if (key === " ") {
      if (target !== document.body) return;
      hold(true);
      event.preventDefault();
      return;
    }
    const control = event.ctrlKey || event.metaKey;
    const command = commands[control ? `ctrl ${event.shiftKey ? "shift " : ""}${key}` : key];
    if (!command) return;
    event.preventDefault();
    command();
  };
  document.onkeyup = (event) => {
    if (event.key === " ") hold(false);
  };
}
