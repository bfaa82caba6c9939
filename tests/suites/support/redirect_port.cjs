// Loaded before amqplib's tests: whatever connects to AMQP's own port on this machine connects to the broker under
// test. Other ports (the tests' own little servers) are left alone.
const net = require('node:net');
const tls = require('node:tls');

const HOST = process.env.AMQP_HOST ?? '127.0.0.1';
const PORT = Number(process.env.AMQP_PORT ?? 5672);
const AMQP_PORT = 5672;

function redirected(args) {
  const [first, second] = args;
  if (first !== null && typeof first === 'object' && Number(first.port) === AMQP_PORT) {
    // «[::1]» keeps its address: nothing listens there, and its test is left out.
    const host = first.host === '::1' || first.host === '[::1]' ? first.host : HOST;
    return [{ ...first, host, port: PORT }, ...args.slice(1)];
  }
  if (Number(first) === AMQP_PORT && (second === undefined || typeof second === 'string' || typeof second === 'function')) {
    return typeof second === 'string' ? [PORT, HOST, ...args.slice(2)] : [PORT, HOST, ...args.slice(1)];
  }
  return args;
}

for (const [module, name] of [[net, 'connect'], [net, 'createConnection'], [tls, 'connect']]) {
  const original = module[name];
  module[name] = (...args) => original(...redirected(args));
}
