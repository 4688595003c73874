// What the annotator is asked before work could be lost; every answer "" leaves everything as it is.
import { versionTable } from "./lists";
import { answer, ask } from "./page";
import type { Version } from "./server";

/** "save", "discard" or "". */
export function askUnsaved(id: string): Promise<string> {
  return ask("Unsaved changes", [`The label of ${id} has not been saved.`], [
    { key: "", text: "Stay" }, { key: "discard", text: "Discard them" }, { key: "save", text: "Save", primary: true },
  ]);
}

/** "accept", "without" (reject them) or "". */
export function askUndecided(count: number): Promise<string> {
  const lesions = count === 1 ? "One proposed lesion is" : `${count} proposed lesions are`;
  return ask("Not decided", [`${lesions} neither accepted nor rejected.`], [
    { key: "", text: "Back" }, { key: "without", text: "Reject, save" }, { key: "accept", text: "Accept, save", primary: true },
  ]);
}

/** "theirs", "mine" or ""; `words` are the server's. */
export function askConflict(words: string): Promise<string> {
  return ask("Somebody else has saved this label", [
    `Nothing was overwritten, and your drawing is still here. The server says: ${words}.`,
    "Look at theirs puts the newest version into the picture; undo brings yours back. Save mine makes yours the newest version; theirs stays in the history.",
  ], [{ key: "", text: "Back" }, { key: "mine", text: "Save mine" }, { key: "theirs", text: "Look at theirs", primary: true }]);
}

/** The number of the version that shall be shown, or "". */
export function askVersion(id: string, list: Version[]): Promise<string> {
  const content = list.length ? versionTable(list, (number) => answer(String(number))) : "No version has been saved yet.";
  return ask(`Versions of ${id}`, [content], [{ key: "", text: "Close", primary: true }]);
}
