// Who is annotating: a signed-in user where the server wants that, else a name that is asked for once.
import { ask, askText, make } from "./page";
import { Server } from "./server";
import { remember, remembered } from "./settings";

export class Annotator {
  readonly server = new Server(() => this.signIn());
  name = remembered("annotator");
  private signedIn = false;

  /** `working` tells whether a scan is open. */
  constructor(private readonly working: () => boolean) {}

  /** Learn from the server who is signed in, or ask for a name. */
  async introduce(): Promise<void> {
    const user = await this.server.user();
    this.signedIn = user !== null;
    if (user !== null) this.name = user;
    else if (!this.name) await this.ask();
  }

  /** Ask for another name, or whether to sign out; true for the latter. */
  async ask(): Promise<boolean> {
    if (this.signedIn) {
      const text = `Signed in as ${this.name}.`;
      return (await ask("Signed in", [text], [{ key: "out", text: "Sign out" }, { key: "", text: "Close", primary: true }])) === "out";
    }
    const name = await askText("Who is annotating?", "The name is kept with every label that you save.", "Your name", this.name);
    if (name !== null) remember("annotator", (this.name = name));
    return false;
  }

  /** Sign out, and begin anew. */
  leave(): void {
    this.server.signOut();
    location.hash = "";
    location.reload();
  }

  private async signIn(): Promise<void> {
    let problem = "";
    for (;;) {
      const name = make("input", { type: "text", autocomplete: "username", name: "username", autofocus: true });
      const password = make("input", { type: "password", autocomplete: "current-password", name: "password" });
      const told = make("p", { className: "bad", textContent: problem });
      const fields = [make("label", {}, "User", name), make("label", {}, "Password", password)];
      const text = this.working() ? "Your sign-in has ended. What you have drawn is kept." : "This server asks who you are.";
      await ask("Sign in", [text, ...fields, ...(problem ? [told] : [])], [{ key: "ok", text: "Sign in", primary: true }], false);
      try {
        await this.server.fetchToken(name.value, password.value);
        return;
      } catch (error) {
        problem = error instanceof Error ? error.message : String(error);
      }
    }
  }
}
