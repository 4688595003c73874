// Builds ../viewer from these sources: `make viewer`. The first line of viewer.js names the fingerprints of the sources
// and of the program below it; tests/apps/test_viewer_files.py compares them, so nobody needs Node to know.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const sha256 = (content) => createHash("sha256").update(content).digest("hex");
const sources = [
  ...readdirSync("src").map((name) => `src/${name}`),
  ...["build.mjs", "index.html", "package-lock.json", "package.json", "tsconfig.json", "viewer.css"],
].sort();
const fingerprint = sha256(sources.map((name) => `${name} ${sha256(readFileSync(name))}\n`).join(""));

const result = await build({
  entryPoints: ["src/main.ts"], bundle: true, minify: true, format: "esm", target: "es2020", charset: "utf8", write: false,
});
const program = result.outputFiles[0].text;
mkdirSync("../viewer", { recursive: true });
writeFileSync("../viewer/viewer.js", `// bonemets viewer, Apache-2.0; sources ${fingerprint}; program ${sha256(program)}\n${program}`);
for (const name of ["index.html", "viewer.css"]) copyFileSync(name, `../viewer/${name}`);
console.log(`viewer.js: ${(program.length / 1024).toFixed(1)} KB`);
