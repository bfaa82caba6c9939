// Publishes COUNT numbers on a confirm channel and consumes them back; connects again whenever the connection is lost.
// A number is published again until it is confirmed, so it may come more than once, but not never.
//
//     node relay.mjs URL QUEUE COUNT MODULE
//
// Prints a JSON object a line: {"event": "half"} when half are confirmed, then {"event": "done", ...}.
import { setTimeout as sleep } from 'node:timers/promises';

const [url, queue, countText, module] = process.argv.slice(2);
const count = Number(countText);
const amqplib = (await import(module)).default;

const unconfirmed = new Set(Array.from({ length: count }, (_, number) => number));
const received = new Map();
let connections = 0;
let halfSaid = false;

function say(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

async function relay() {
  const connection = await amqplib.connect(url, { clientProperties: { connection_name: `relay by ${module}` } });
  connections += 1;
  try {
    return await relayOn(connection);
  } finally {
    // One that is half open would keep its consumer, and messages with it.
    await connection.close().catch(() => {});
  }
}

async function relayOn(connection) {
  const lost = new Promise((resolve) => {
    connection.on('error', () => {});
    connection.on('close', resolve);
  });
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  await channel.assertQueue(queue, { durable: true });
  await channel.prefetch(50);
  const everything = new Promise((resolve, reject) => {
    const check = () => received.size === count && unconfirmed.size === 0 && resolve('done');
    channel.consume(queue, (message) => {
      if (message === null) return; // the queue is gone: deleted below
      const number = Number(message.content.toString());
      received.set(number, (received.get(number) ?? 0) + 1);
      channel.ack(message);
      check();
    }).catch(reject);
    const publish = async (number) => {
      await new Promise((confirmed, refused) => {
        channel.sendToQueue(queue, Buffer.from(String(number)), { persistent: true }, (error) => (error ? refused(error) : confirmed()));
      });
      unconfirmed.delete(number);
      if (!halfSaid && unconfirmed.size <= count / 2) {
        halfSaid = true;
        say({ event: 'half' });
      }
      check();
    };
    const left = [...unconfirmed];
    const lane = async () => {
      while (left.length > 0) {
        // Once half are confirmed the connection is going to be lost: be busy until then, and not done before.
        if (halfSaid && connections === 1) {
          await sleep(20);
          if (left.length <= count / 10) continue;
        }
        const number = left.shift();
        if (number !== undefined) await publish(number);
      }
    };
    for (let lanes = 0; lanes < 50; lanes++) lane().catch(reject);
    check();
  });
  everything.catch(() => {});
  const ended = await Promise.race([everything, lost.then(() => 'lost')]).catch(() => 'lost');
  if (ended === 'lost') return false;
  await channel.deleteQueue(queue);
  return true;
}

for (;;) {
  try {
    if (await relay()) break;
  } catch (error) {
    if (!/ECONNREFUSED|ECONNRESET|EPIPE|closed|close|ended|socket/i.test(String(error))) throw error;
  }
  await sleep(100);
}
say({ event: 'done', connections, received: received.size, confirmed: count - unconfirmed.size });
