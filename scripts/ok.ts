// The static gate alone: `npm run ok`, to be run before every commit. `npm test` runs the same steps first.

import process from "node:process";
import { staticSteps } from "./static_steps.ts";
import { printFailures, runSteps } from "./steps.ts";

const start = performance.now();
const results = await runSteps(staticSteps(), 2);
printFailures(results);
const failed = results.filter((result) => result.outcome !== "passed").length;
const seconds = ((performance.now() - start) / 1000).toFixed(1);
console.log(`\n${results.length - failed} of ${results.length} checks passed in ${seconds} s`);
process.exit(failed === 0 ? 0 : 1);
