// What this browser remembers between visits: habits, no data of scans.

export type Setting = "annotator" | "bright" | "strategy" | "model" | "always" | "size";

export function remembered(name: Setting): string {
  return localStorage.getItem(`bonemets.${name}`) ?? "";
}

export function remember(name: Setting, value: string): void {
  localStorage.setItem(`bonemets.${name}`, value);
}
