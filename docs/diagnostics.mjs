// Writes docs/diagnostics.md from the pages that `weft explain` prints. Run it after `npm run build` when a page has
// changed; a test holds the file to them.
import { writeFileSync } from "node:fs";
import { pages } from "weft";
import { syntaxErrors } from "../dist/grammar/index.js";
import { diagnosticsPage } from "./diagnostics-page.mjs";

writeFileSync(new URL("diagnostics.md", import.meta.url), diagnosticsPage({ ...syntaxErrors, ...pages }));
