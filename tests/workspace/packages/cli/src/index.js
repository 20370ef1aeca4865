// The two services: `server --port … --host …` and `start --mode service`.
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { minute, name } from '@tamma/shared';

const options = Object.fromEntries(['port', 'host', 'mode'].map((key) => [key, { type: 'string' }]));
const { positionals, values } = parseArgs({ options, allowPositionals: true });

if (positionals[0] === 'server') {
  createServer((request, response) => {
    const known = request.url === '/api/health';
    response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ status: known ? 'ok' : 'unknown', name: name() }));
  }).listen(Number(values.port), values.host);
} else {
  writeFileSync('/workspace/worked', name());
  writeFileSync('/tmp/tamma-engine-healthy', '');
  setInterval(() => {}, minute);
}
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
