// A producer in plain AMQP, per the wire contract at the head of producer_sdk/wire.py.
// npm ci && WARREN_URL=amqp://USER:PASSWORD@HOST/VHOST node producer.mjs
import { randomUUID } from "node:crypto";
import amqp from "amqplib";

const tenant = decodeURIComponent(new URL(process.env.WARREN_URL).username);
const route = `${tenant}.hello-node`; // the broker lets a tenant bind only its own
const connection = await amqp.connect(process.env.WARREN_URL);
const channel = await connection.createConfirmChannel();
const { queue } = await channel.assertQueue(`warren.reply.${route}`, {
  durable: true, expires: 604_800_000, arguments: { "x-queue-type": "classic" } });
await channel.bindQueue(queue, "warren.replies", route);

const id = randomUUID();
const answer = new Promise((heard, failed) => {
  channel.on("return", () => failed(new Error("no queue takes this tier and lane")));
  channel.consume(queue, (message) => {
    channel.ack(message);
    if (message.properties.correlationId === id) heard(message); // others answer an earlier run
  });
});

const body = { model: "gpt-5-mini", messages: [{ role: "user", content: "Say hello in three languages" }] };
channel.publish("warren.requests", "standard.interactive", Buffer.from(JSON.stringify(body)), {
  mandatory: true, persistent: true, contentType: "application/json", priority: 4,
  userId: tenant, correlationId: id, messageId: randomUUID(), replyTo: route,
  headers: { "x-warren-version": 1, "x-warren-path": "/v1/chat/completions", "x-warren-key": "hello-node-1",
    "x-warren-submitted": Date.now(), "x-warren-deadline": Date.now() + 120_000 } });
await channel.waitForConfirms(); // stored: from here on the job is not lost

const { properties, content } = await answer;
console.log(properties.headers["x-warren-status"], JSON.parse(content));
await connection.close();
