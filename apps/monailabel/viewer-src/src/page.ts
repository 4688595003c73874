// Small helpers for the page: elements, questions, messages.

export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** A new element; text is always set as text, never as HTML. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K, properties: Partial<HTMLElementTagNameMap[K]> = {}, ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function press(button: HTMLElement, pressed: boolean): void {
  button.setAttribute("aria-pressed", String(pressed));
}

let hiding = 0;

export function say(text: string, bad = false): void {
  const toast = element("toast");
  toast.textContent = text;
  toast.className = bad ? "shown bad" : "shown";
  clearTimeout(hiding);
  hiding = window.setTimeout(() => toast.classList.remove("shown"), bad ? 9000 : 3500);
}

export interface Choice {
  key: string;
  text: string;
  primary?: boolean;
}

export function dialogOpen(): boolean {
  return element<HTMLDialogElement>("dialog").open;
}

let last: Promise<unknown> = Promise.resolve();
let close: (answer: string) => void = () => undefined;

/** Answer the open question from within its own content. */
export function answer(key: string): void {
  close(key);
}

/** Ask, and wait for the answer: the key of a choice, or "" for Escape. Questions come one after another. */
export function ask(title: string, content: (Node | string)[], choices: Choice[], escape = true): Promise<string> {
  const next = last.then(() => show(title, content, choices, escape));
  last = next;
  return next;
}

function show(title: string, content: (Node | string)[], choices: Choice[], escape: boolean): Promise<string> {
  const dialog = element<HTMLDialogElement>("dialog");
  const buttons = choices.map(({ key, text, primary }) =>
    make("button", { value: key, textContent: text, className: primary ? "primary" : "", type: primary ? "submit" : "button" }));
  // Enter in a field presses the button for submitting: the first, whatever its place among the others.
  const form = make("form", { method: "dialog" }, make("h2", { textContent: title }),
    ...content.map((part) => (typeof part === "string" ? make("p", { textContent: part }) : part)),
    make("div", { className: "buttons" }, ...buttons));
  dialog.replaceChildren(form);
  return new Promise((resolve) => {
    close = (key) => {
      dialog.oncancel = null;
      dialog.close();
      resolve(key);
    };
    for (const button of buttons) if (button.type === "button") button.onclick = () => close(button.value);
    form.onsubmit = (event) => {
      event.preventDefault();
      close(choices.find((choice) => choice.primary)?.key ?? "");
    };
    dialog.oncancel = (event) => {
      event.preventDefault();
      if (escape) close("");
    };
    dialog.showModal();
  });
}

/** One line of text, or null if the annotator does not want to. */
export async function askText(title: string, text: string, name: string, value: string): Promise<string | null> {
  const field = make("input", { type: "text", value, maxLength: 100, name: "text", autofocus: true });
  const given = await ask(title, [text, make("label", {}, name, field)], [
    { key: "", text: "Cancel" }, { key: "ok", text: "OK", primary: true },
  ]);
  return given === "ok" ? field.value.trim() : null;
}

const KEYS: [string, string][] = [
  ["V", "move and select"], ["B", "paint lesion"], ["I", "paint “unsure”: counts neither for nor against"],
  ["E", "erase"], ["S", "split: draw a line across a lesion"], ["[ ]", "smaller, larger brush"],
  ["Ctrl Z", "undo, without limit"], ["Ctrl Y", "redo"], ["↓ ↑", "next, previous lesion"],
  ["A", "accept the selected lesion"], ["R", "reject or remove the selected lesion"], ["P", "propose lesions"],
  ["H", "hide or show lesions"], ["X", "hot is dark, or hot is bright"], ["+ − F", "larger, smaller, whole scan"],
  ["0", "automatic window"], ["N", "next scan"], ["Ctrl S", "save"], ["Ctrl ↵", "save, then the next scan"],
];

export function help(): Promise<string> {
  const rows = KEYS.map(([keys, what]) => {
    const shown = keys.split(" ").flatMap((key) => [make("kbd", { textContent: key }), " "]);
    return make("tr", {}, make("td", {}, ...shown), make("td", { textContent: what }));
  });
  return ask("Keyboard, mouse, touch", [
    make("table", {}, make("tbody", {}, ...rows)),
    "Mouse: wheel to zoom, right-drag for window and level, middle-drag or Space and drag to move.",
    "Touch: two fingers zoom and move. Once a pen has drawn, one finger moves too.",
    "Solid red: lesion, is saved. Orange outline: proposed, waits for your decision and is not saved. Blue hatching: unsure.",
  ], [{ key: "", text: "Close", primary: true }]);
}
