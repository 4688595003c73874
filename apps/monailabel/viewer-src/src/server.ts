// MONAI Label's REST interface, and the few routes that the app adds to it.

export interface Finding {
  number: number;
  view: string;
  row: number;
  column: number;
  area_px: number;
  area_cm2: number | null;
  probability_max: number;
  uptake_ratio: number | null;
  bone?: string | null;
}

export interface LabelInfo {
  version?: number;
  user?: string;
  time?: string;
  lesion_pixels?: number;
}

export interface Item {
  id: string;
  /** As DICOM names it; scans are "NM". */
  modality?: string;
  views: string[];
  labels: Record<string, LabelInfo>;
  scores: Record<string, number | null | undefined>;
  reserved: boolean;
}

export interface Version extends LabelInfo {
  tag: string;
  version: number;
  action: string;
}

interface Network {
  modality?: string;
  description?: string;
  config?: { max_epochs?: number };
}

export interface Info {
  models: Record<string, Network>;
  trainers: Record<string, Network>;
  strategies: Record<string, { description?: string }>;
  /** Of the weights that are in use; empty for a network that has none. */
  train_stats: Record<string, { sha256?: string; epoch?: number; metric?: { name: string; value: number } }>;
}

/** A training; `details` holds the last lines of its log. */
export interface Task {
  id: string;
  status: "SUBMITTED" | "RUNNING" | "DONE" | "ERROR" | "STOPPED";
  request: { model: string };
  details?: string[];
}

export interface Proposal {
  label: Blob;
  lesions: Finding[];
}

export interface Saved {
  version: number;
  replaces: number;
}

/** A refusal by the server, in its own words. */
export class Refused extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

const TOKEN = "bonemets.token";
/** What this page can show. */
export const MODALITY = "NM";
const JSON_TYPE = { "Content-Type": "application/json" };

/** Whether an item, or what a network is for, is a planar scan. */
export function isScan({ modality }: { modality?: string }): boolean {
  return (modality ?? MODALITY) === MODALITY;
}

export class Server {
  // The viewer lies at /viewer/, behind whatever prefix a proxy puts before it.
  private readonly root = location.pathname.replace(/\/viewer\/.*$/, "");
  private token = sessionStorage.getItem(TOKEN) ?? "";
  private signingIn: Promise<void> | null = null;

  /** `signIn` is called when a token is missing or has expired; it returns when there is a new one. */
  constructor(private readonly signIn: () => Promise<void>) {}

  async fetchToken(username: string, password: string): Promise<void> {
    const body = new URLSearchParams({ grant_type: "password", username, password });
    const answer = await fetch(`${this.root}/auth/token`, { method: "POST", body });
    if (!answer.ok) throw new Refused(answer.status, "Signing in failed: wrong name or password, or no connection to where users are kept.");
    this.token = ((await answer.json()) as { access_token: string }).access_token;
    sessionStorage.setItem(TOKEN, this.token);
  }

  signOut(): void {
    this.token = "";
    sessionStorage.removeItem(TOKEN);
  }

  /** The name of who is signed in; null where nobody needs to. */
  async user(): Promise<string | null> {
    if (!this.token) return null;
    try {
      const user = (await this.json("/auth/token/valid")) as { username?: string; name?: string };
      return user.username || user.name || "";
    } catch (error) {
      // A server without signing in has no such route; the token was another's at the same address.
      if (!(error instanceof Refused) || error.status !== 404) throw error;
      this.signOut();
      return null;
    }
  }

  info(): Promise<Info> {
    return this.json("/info/") as Promise<Info>;
  }

  workList(client: string): Promise<Item[]> {
    return this.json(`/bonemets/worklist?client_id=${encodeURIComponent(client)}`) as Promise<Item[]>;
  }

  history(image: string): Promise<Version[]> {
    return this.json(`/bonemets/history?image=${encodeURIComponent(image)}`) as Promise<Version[]>;
  }

  async olderLabel(image: string, version: number): Promise<Blob> {
    return (await this.fetch(`/bonemets/history/label?image=${encodeURIComponent(image)}&version=${version}`)).blob();
  }

  async image(id: string): Promise<Blob> {
    return (await this.fetch(`/datastore/image?image=${encodeURIComponent(id)}`)).blob();
  }

  async label(id: string): Promise<Blob> {
    return (await this.fetch(`/datastore/label?label=${encodeURIComponent(id)}&tag=final`)).blob();
  }

  /** The scan that a strategy chooses; null when all are labeled. */
  async next(strategy: string, client: string): Promise<string | null> {
    const body = JSON.stringify({ client_id: client, modality: MODALITY });
    const path = `/activelearning/${encodeURIComponent(strategy)}`;
    const answer = await this.fetch(path, { method: "POST", body, headers: JSON_TYPE });
    return ((await answer.json()) as { id?: string }).id ?? null;
  }

  async propose(model: string, image: string): Promise<Proposal> {
    const path = `/infer/${encodeURIComponent(model)}?image=${encodeURIComponent(image)}&output=all`;
    const parts = await (await this.fetch(path, { method: "POST" })).formData();
    const params = JSON.parse(await new Response(parts.get("params")).text()) as { lesions?: Finding[] };
    const label = parts.get("image");
    if (!(label instanceof Blob)) throw new Error("the server sent no proposal");
    return { label, lesions: params.lesions ?? [] };
  }

  async save(image: string, label: Blob, base: number, client: string): Promise<Saved> {
    const form = new FormData();
    form.append("label", label, "label.nii.gz");
    const names = [{ name: "lesion", idx: 1 }, { name: "ignore", idx: 2 }];
    form.append("params", JSON.stringify({ label_info: names, client_id: client, base_version: base }));
    const path = `/datastore/label?image=${encodeURIComponent(image)}&tag=final`;
    return (await (await this.fetch(path, { method: "PUT", body: form })).json()) as Saved;
  }

  /** The newest training, running or not; null if there was none since the server's start. */
  async training(): Promise<Task | null> {
    try {
      return (await this.json("/train/")) as Task;
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return null;
      throw error;
    }
  }

  /** Begin to train; refused while another training runs. */
  async startTraining(model: string, settings: { max_epochs: number; pretrained: boolean }): Promise<Task> {
    const options = { method: "POST", body: JSON.stringify(settings), headers: JSON_TYPE };
    return (await (await this.fetch(`/train/${encodeURIComponent(model)}`, options)).json()) as Task;
  }

  async stopTraining(): Promise<void> {
    await this.fetch("/train/", { method: "DELETE" });
  }

  private async json(path: string): Promise<unknown> {
    return (await this.fetch(path)).json();
  }

  private async fetch(path: string, options: RequestInit = {}): Promise<Response> {
    for (;;) {
      const headers = new Headers(options.headers);
      if (this.token) headers.set("Authorization", `Bearer ${this.token}`);
      let answer: Response;
      try {
        answer = await fetch(this.root + path, { ...options, headers, cache: "no-store" });
      } catch {
        throw new Error("The server does not answer. Your drawing is kept here; try again in a moment.");
      }
      if (answer.ok) return answer;
      if (answer.status !== 401) throw new Refused(answer.status, await reason(answer));
      // Several requests may find out at once; one dialog is enough.
      this.signingIn ??= this.signIn().finally(() => (this.signingIn = null));
      await this.signingIn;
    }
  }
}

async function reason(answer: Response): Promise<string> {
  const text = await answer.text();
  try {
    const { detail } = JSON.parse(text) as { detail?: unknown };
    if (typeof detail === "string") return detail;
  } catch {
    // Not JSON: the text itself is the reason.
  }
  return text.slice(0, 300) || `the server answered ${answer.status}`;
}
