// Work that takes time: one at a time, told while it lasts, and told when it goes wrong.
import { element, say } from "./page";

export class Jobs {
  /** Whether something is under way, a question to the annotator included. */
  running = false;
  /** Whether the annotator waits for it. */
  working = false;

  constructor(private readonly changed: () => void) {}

  async run(job: () => Promise<unknown>): Promise<void> {
    if (this.running) return;
    this.running = true;
    try {
      await job();
    } catch (error) {
      say(error instanceof Error ? error.message : String(error), true);
    } finally {
      this.running = false;
      this.tell("");
    }
  }

  tell(text: string): void {
    this.working = text !== "";
    element("busy").hidden = !this.working;
    element("busy").textContent = text && `${text} …`;
    this.changed();
  }
}
