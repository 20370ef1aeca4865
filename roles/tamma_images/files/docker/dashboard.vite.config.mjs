// The source's own configuration, without what no browser can load.
//
// @tamma/shared imports node:crypto, which the source leaves in the page: a browser then shows nothing at all.
import { fileURLToPath } from 'node:url';
import { loadConfigFromFile, mergeConfig } from 'vite';

const NOTHING = '\0nothing:';
// What can be done in a browser; the rest of Node's modules is there and empty. A browser has crypto.randomUUID only
// where the page came over TLS.
const RANDOM_UUID = `() => '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit) =>
  (Number(digit) ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (Number(digit) / 4)))).toString(16))`;
const BROWSER = { 'node:crypto': `{ randomUUID: ${RANDOM_UUID} }` };

const withoutNode = {
  name: 'tamma-without-node',
  enforce: 'pre',
  resolveId: (id) => (id.startsWith('node:') ? { id: NOTHING + id, syntheticNamedExports: true } : null),
  load: (id) =>
    id.startsWith(NOTHING)
      ? { code: `export default ${BROWSER[id.slice(NOTHING.length)] ?? '{}'};`, syntheticNamedExports: true }
      : null,
};

export default async (environment) => {
  const root = fileURLToPath(new URL('.', import.meta.url));
  const found = await loadConfigFromFile(environment, undefined, root);
  const config = found?.config ?? {};
  if (config.build?.rollupOptions) delete config.build.rollupOptions.external;
  return mergeConfig(config, { plugins: [withoutNode], build: { outDir: 'dist', sourcemap: false } });
};
