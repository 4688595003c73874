// Training of a network on the saved labels: MONAI Label's own, started, watched and stopped from here.
import { ask, element, make, say } from "./page";
import { Refused, type Info, type Server, type Task } from "./server";

// A line of the training's log, and the numbers in it.
const EPOCH = /epoch (\d+)\/(\d+)\s+(.*?)\s+\(.*, (.*?) left\)/;
const NUMBER = /(\w+) (-?[\d.]+)/g;
const SHOWN: [string, string][] = [["train_loss", "loss"], ["val_lesion_dice", "Dice"]];
const OFTEN = 1500;

interface Progress {
  epoch: number;
  epochs: number;
  left: string;
  /** The newest of each; a validation does not come with every epoch. */
  metrics: Record<string, number>;
}

export class Training {
  private info: Info | null = null;
  private task: Task | null = null;
  private progress: Progress | null = null;
  private timer = 0;
  /** Fingerprint of the network's weights when its training was first seen. */
  private before = "";

  /** `renew` asks the server anew what it has; `labels` counts the scans that can be trained on. */
  constructor(private readonly server: Server, private readonly renew: () => Promise<void>, private readonly labels: () => number) {}

  get active(): boolean {
    return this.task?.status === "SUBMITTED" || this.task?.status === "RUNNING";
  }

  /** After the server has told what networks it has. */
  know(info: Info): void {
    this.info = info;
    this.show();
  }

  /** Ask for network and epochs, and start. */
  async start(chosen: string, unsaved: string | null): Promise<void> {
    await this.look();
    if (!this.info || this.active) return;
    const network = make("select", {}, ...Object.keys(this.info.trainers).map((name) => new Option(readable(name), name)));
    if (chosen) network.value = chosen;
    const epochs = make("input", { type: "number", min: "1", max: "1000", name: "epochs", required: true });
    const present = make("input", { type: "checkbox", name: "present" });
    const about = make("p", { className: "soft" });
    const adapt = () => {
      const known = this.weights(network.value) !== "";
      epochs.value = String(this.info?.trainers[network.value]?.config?.max_epochs ?? 20);
      [present.checked, present.disabled] = [known, !known];
      about.textContent = known ? `Its weights: ${this.quality(network.value)}.` : "It has no weights yet.";
    };
    network.onchange = adapt;
    adapt();
    const count = this.labels();
    const begin = make("label", { className: "check" }, present, " begin with the present weights");
    const wish = await ask("Train on the labels", [
      `On ${count} labeled scan${count === 1 ? "" : "s"}; those of some patients are set aside to validate. You can go on annotating meanwhile. New weights are used as soon as the training has ended; the older ones are kept on the server.`,
      ...(unsaved ? [`The label of ${unsaved} has not been saved: as it is now, it is not trained on.`] : []),
      make("label", {}, "Network", network), about, make("label", {}, "Epochs", epochs), begin,
    ], [{ key: "", text: "Cancel" }, { key: "train", text: "Start", primary: true }]);
    if (wish !== "train") return;
    try {
      this.take(await this.server.startTraining(network.value, { max_epochs: epochs.valueAsNumber, pretrained: present.checked }));
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 429) throw error;
      say("A training is under way already; it was not started twice.", true);
      await this.look();
    }
  }

  async stop(): Promise<void> {
    const wish = await ask("Stop the training?", ["What it has learned so far is lost; the weights in use stay."], [
      { key: "", text: "Go on" }, { key: "stop", text: "Stop it", primary: true },
    ]);
    if (wish !== "stop" || !this.active) return;
    await this.server.stopTraining();
    await this.look();
  }

  /** See how the training is; others may have started or stopped one. */
  async look(): Promise<void> {
    const task = await this.server.training();
    if (task) this.take(task);
  }

  private take(task: Task): void {
    const running = this.active;
    if (task.id !== this.task?.id) [this.progress, this.before] = [null, this.weights(task.request.model)];
    this.task = task;
    for (const line of task.details ?? []) this.read(line);
    this.show();
    clearTimeout(this.timer);
    // A server that does not answer for a while has not ended the training.
    if (this.active) this.timer = window.setTimeout(() => void this.look().catch(() => this.take(task)), OFTEN);
    else if (running) void this.ended(task);
  }

  private read(line: string): void {
    const found = EPOCH.exec(line);
    if (!found) return;
    const metrics = { ...this.progress?.metrics };
    for (const [, name, value] of found[3].matchAll(NUMBER)) metrics[name] = Number(value);
    this.progress = { epoch: Number(found[1]), epochs: Number(found[2]), left: found[4], metrics };
  }

  private async ended(task: Task): Promise<void> {
    try {
      await this.renew();
    } catch {
      return say("The server does not answer; open the page again to see what the training has brought.", true);
    }
    say(this.outcome(task), task.status === "ERROR");
  }

  private outcome({ status, request: { model }, details }: Task): string {
    if (this.weights(model) !== this.before) return `New weights are in use: ${this.quality(model)}.`;
    if (status === "ERROR") return `The training failed: ${reason(details ?? [])}`;
    if (status === "STOPPED") return "The training was stopped; the weights are as before.";
    return `Weights in use: ${this.quality(model)}.`;
  }

  private weights(model: string): string {
    return this.info?.train_stats[model]?.sha256 ?? "";
  }

  /** What is known of the weights in use. */
  private quality(model: string): string {
    const { metric, epoch, sha256 } = this.info?.train_stats[model] ?? {};
    const parts = metric && epoch !== undefined ? [`${name(metric.name)} ${metric.value.toFixed(2)} in validation`, `epoch ${epoch}`] : [];
    return [...parts, `fingerprint ${(sha256 ?? "").slice(0, 7)}`].join(", ");
  }

  private words(): string {
    const { task, progress } = this;
    if (!task) return "";
    if (!this.active) return this.outcome(task);
    if (task.status === "SUBMITTED") return "Waiting to start";
    if (task.details?.some((line) => line.includes("labeling.scor"))) return "Scoring the scans with the new weights";
    if (!progress) return "Reading the labeled scans";
    const shown = SHOWN.filter(([key]) => key in progress.metrics).map(([key, word]) => `${word} ${progress.metrics[key].toFixed(2)}`);
    return [`Epoch ${progress.epoch} of ${progress.epochs}`, ...shown, `${progress.left} left`].join(" · ");
  }

  /** Also after a change in the number of labeled scans. */
  show(): void {
    const { active, progress } = this;
    const told = element("training-told");
    told.textContent = told.title = this.words();
    told.classList.toggle("bad", this.task?.status === "ERROR");
    const bar = element<HTMLProgressElement>("training-bar");
    bar.hidden = !active;
    bar.value = progress ? progress.epoch / progress.epochs : 0;
    element("stop").hidden = !active;
    const train = element<HTMLButtonElement>("train");
    const count = this.labels();
    train.hidden = active;
    train.disabled = !count || !Object.keys(this.info?.trainers ?? {}).length;
    train.title = count ? "Train a network on the saved labels" : "Save a label first";
    element("training").dataset.status = this.task?.status ?? "";
    const small = element("training-small");
    small.hidden = !active;
    small.textContent = progress ? `Training ${progress.epoch}/${progress.epochs}` : "Training";
  }
}

/** A network's or a number's name for reading. */
function readable(text: string): string {
  return text.replace(/_/g, " ");
}

function name(metric: string): string {
  return readable(metric.replace(/^val_/, "")).replace("dice", "Dice");
}

/** The last line that says something, without the name of the error. */
function reason(details: string[]): string {
  const last = details.filter((line) => line.trim()).pop() ?? "no reason was given";
  return last.replace(/^[\w.]*?(\w+Error): /, (_, kind: string) => (kind === "InputError" ? "" : `${kind}: `)).slice(0, 200);
}
