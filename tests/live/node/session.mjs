// One session of amqplib, step by step; exits with 1 and a stack when a step goes wrong.
//
//     node session.mjs URL MODULE
import assert from 'node:assert/strict';
import { once } from 'node:events';

const [url, module] = process.argv.slice(2);
const amqplib = (await import(module)).default;
const connection = await amqplib.connect(url);

// A body of many frames, headers of each type, there and back.
const channel = await connection.createConfirmChannel();
const { queue } = await channel.assertQueue('', { exclusive: true });
const body = Buffer.alloc(1_000_000, 'amqplib');
const headers = { text: 'é', number: 7, big: 2 ** 40, real: 1.5, truth: true, list: [1, 'two'], table: { three: 3 }, none: null };
channel.sendToQueue(queue, body, { headers, messageId: 'm', priority: 1 });
await channel.waitForConfirms();
const message = await channel.get(queue);
assert.deepEqual(message.content, body);
assert.deepEqual({ ...message.properties.headers }, headers);
assert.equal(message.properties.messageId, 'm');
assert.equal(message.properties.contentType, undefined);
channel.nack(message);
const again = await channel.get(queue);
assert.equal(again.fields.redelivered, true);
channel.ack(again);
assert.equal(await channel.get(queue), false);

// Prefetch, multiple acknowledgement, cancel.
for (let number = 0; number < 10; number++) channel.sendToQueue(queue, Buffer.from([number]));
await channel.waitForConfirms();
await channel.prefetch(4);
const taken = [];
const four = new Promise((resolve) => {
  channel.consume(queue, (delivery) => taken.push(delivery) === 4 && resolve(), { consumerTag: 'four' });
});
await four;
assert.equal((await channel.checkQueue(queue)).messageCount, 6);
await channel.cancel('four');
channel.ack(taken[3], true);
assert.equal((await channel.checkQueue(queue)).messageCount, 6);
assert.equal((await channel.purgeQueue(queue)).messageCount, 6);

// What is mandatory and unroutable comes back before its confirm.
const returned = once(channel, 'return');
channel.publish('', 'no-such-queue', Buffer.from('back'), { mandatory: true });
await channel.waitForConfirms();
const [back] = await returned;
assert.deepEqual([back.fields.replyCode, back.fields.replyText, back.content.toString()], [312, 'NO_ROUTE', 'back']);

// A channel's error closes that channel only.
const doomed = await connection.createChannel();
const closed = once(doomed, 'error');
await assert.rejects(doomed.checkQueue('no-such-queue'), /404/);
const [error] = await closed;
assert.match(error.message, /NOT_FOUND - no queue 'no-such-queue' in vhost '\/'/);

// Exchange to exchange, headers exchange, server-side cancel of a consumer whose queue goes.
const name = `${queue}-exchange`.replace('amq.', 'live.');
await channel.assertExchange(name, 'headers', { autoDelete: true, durable: false });
await channel.assertExchange(`${name}-first`, 'fanout', { autoDelete: true, durable: false });
await channel.bindExchange(name, `${name}-first`);
const target = await channel.assertQueue('', { exclusive: true });
await channel.bindQueue(target.queue, name, '', { 'x-match': 'all', kind: 'wanted' });
channel.publish(`${name}-first`, '', Buffer.from('no'), { headers: { kind: 'other' } });
channel.publish(`${name}-first`, '', Buffer.from('yes'), { headers: { kind: 'wanted' } });
await channel.waitForConfirms();
assert.equal((await channel.get(target.queue, { noAck: true })).content.toString(), 'yes');
assert.equal(await channel.get(target.queue), false);
const cancelled = new Promise((resolve) => {
  channel.consume(target.queue, (delivery) => delivery === null && resolve());
});
await channel.deleteQueue(target.queue);
await cancelled;
await connection.close();
console.log('session complete');
