// A reporter for `node --test`: outcomes go to $SUITE_REPORT as they come (see report.py). With SUITE_ONLY (a file of ids)
// everything runs, but only those tests are reported.
import { appendFileSync, readFileSync } from 'node:fs';

const only = process.env.SUITE_ONLY ? new Set(readFileSync(process.env.SUITE_ONLY, 'utf8').split('\n')) : null;

export default async function* report(source) {
  const path = [];
  for await (const { type, data } of source) {
    if (type === 'test:start') {
      path.length = data.nesting;
      path[data.nesting] = data.name;
    }
    if (type === 'test:stderr' || type === 'test:stdout') yield data.message;
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const error = data.details?.error;
    if (data.details?.type === 'suite' || error?.failureType === 'subtestsFailed') continue;
    const file = (data.file ?? '').replace(/.*\//, '');
    // A file that ends badly is reported under its path.
    const name = data.nesting === 0 && data.name.endsWith('.js') ? '(the whole file)' : data.name;
    const id = [file, ...path.slice(0, data.nesting), name].join(' > ');
    if (id.endsWith('> ipv6')) continue; // the broker under test listens on IPv4
    if (only !== null && !only.has(id)) continue;
    const why = String(error?.cause?.stack ?? error?.message ?? '').slice(0, 500);
    const skipped = data.skip !== undefined || data.todo !== undefined;
    const outcome = skipped ? 'skipped' : type === 'test:pass' ? 'passed' : 'failed';
    appendFileSync(process.env.SUITE_REPORT, `${JSON.stringify({ id, outcome, why })}\n`);
    yield `${outcome} ${id} ${why}\n`;
  }
}
