/** The script of a page: asks its server what to do, does it in the browser, and posts what came of it. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import {
  AgentService,
  ClientMessageSchema,
  type ServerMessage,
  ServerMessageSchema,
} from "../../../src/gen/engram/api/v1/agent_pb.ts";

export type Task = {
  readonly engineUrl: string;
  readonly apiKey: string;
  readonly does: "speak" | "intrude";
};

type AgentClient = Client<typeof AgentService>;

const transports: Readonly<
  Record<string, (options: Parameters<typeof createConnectTransport>[0]) => Transport>
> = {
  "gRPC-Web": createGrpcWebTransport,
  "gRPC-Web with JSON": (options) => createGrpcWebTransport({ ...options, useBinaryFormat: false }),
  Connect: (options) => createConnectTransport({ ...options, useBinaryFormat: true }),
  "Connect with JSON": createConnectTransport,
};

type Refusal = { readonly code: string; readonly message: string };

const refusalOf = async (call: Promise<unknown>): Promise<Refusal | null> => {
  try {
    await call;
    return null;
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    return { code: Code[code], message: rawMessage };
  }
};

const brief = ({ sequenceId, payload }: ServerMessage): string => {
  const { value } = payload;
  const words = payload.case === "status" ? payload.value.status : "";
  const content = value !== undefined && "content" in value ? value.content : words;
  return `${sequenceId} ${payload.case ?? "nothing"} ${content}`.trimEnd();
};

const wishes = { goal: "help", model: "scripted:1", config: { waitForInput: true } };

/** Says something while Replay follows from the log's first event on, and leaves it once the answer was seen there. */
const followed = async (client: AgentClient, agentId: string): Promise<unknown> => {
  const leaving = new AbortController();
  const request = { agentId, fromSequence: 1n, includeHistory: true, follow: true };
  const seen: string[] = [];
  const answers: Promise<{ text: string }>[] = [];
  const follow = async (): Promise<void> => {
    for await (const message of client.replay(request, { signal: leaving.signal })) {
      const { payload } = message;
      if (payload.case !== "heartbeat" || answers.length === 0) seen.push(brief(message));
      // The silence after the log's head shows that what comes now comes live.
      if (payload.case === "heartbeat" && answers.length === 0) {
        const userInput = { content: "count to 20" };
        answers.push(client.sendMessage({ agentId, userInput, messageId: "m1" }));
      }
      if (payload.case === "text") leaving.abort();
    }
  };
  const left = await refusalOf(follow());
  return { seen, left: left?.code, answered: (await answers[0])?.text };
};

const paged = async (client: AgentClient): Promise<unknown> => {
  const made: string[] = [];
  for (let n = 0; n < 5; n++) {
    const { agentId } = await client.createAgent({ ...wishes, requestId: `r${n % 4}` });
    made.push(agentId);
  }
  const pages: string[][] = [];
  let pageToken = "";
  do {
    const page = await client.listAgents({ pageSize: 2, pageToken });
    pages.push(page.agents.map(({ agentId }) => agentId));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  const listed = pages.flat();
  return {
    sizes: new Set(pages.slice(0, -1).map(({ length }) => length)).values().toArray(),
    doubled: listed.length - new Set(listed).size,
    missing: made.filter((id) => !listed.includes(id)).length,
    // The fifth asked with the first one's request id.
    repeated: made[0] === made[4],
    newestFirst: listed.indexOf(made[3] ?? "") < listed.indexOf(made[0] ?? ""),
  };
};

const refused = async (client: AgentClient, agentId: string, stranger: AgentClient) => ({
  unknown: await refusalOf(client.getAgent({ agentId: "nobody-ü-€-😀" })),
  argument: await refusalOf(client.createAgent({ goal: "", model: "scripted" })),
  impossible: await refusalOf(
    client.controlAgent({ agentId, command: { case: "retry", value: {} } }),
  ),
  stream: await refusalOf(Array.fromAsync(client.replay({ agentId: "nobody" }))),
  late: await refusalOf(
    Array.fromAsync(client.replay({ agentId, follow: true }, { timeoutMs: 100 })),
  ),
  noKey: await refusalOf(stranger.getAgent({ agentId })),
  noKeyStream: await refusalOf(Array.fromAsync(stranger.replay({ agentId }))),
});

const spoken = async (transport: Transport, keyless: Transport): Promise<unknown> => {
  const client = createClient(AgentService, transport);
  const { agentId, agent } = await client.createAgent({ ...wishes, metadata: { ключ: "värde" } });
  const control = async (name: "pause" | "resume"): Promise<string> =>
    (await client.controlAgent({ agentId, command: { case: name, value: {} } })).status;
  const follow = await followed(client, agentId);
  const history = client.replay({ agentId, fromSequence: 2n, includeHistory: true });
  return {
    created: { status: agent?.status, metadata: agent?.metadata },
    follow,
    history: (await Array.fromAsync(history)).map(brief),
    controlled: [await control("pause"), await control("pause"), await control("resume")],
    pages: await paged(client),
    refused: await refused(client, agentId, createClient(AgentService, keyless)),
    chat: (await refusalOf(Array.fromAsync(client.chat(silence()))))?.message,
  };
};

async function* silence() {}

/** The messages of a stream's body, without the end that Connect puts behind them. */
const messagesIn = (body: Uint8Array): readonly ServerMessage[] => {
  const messages: ServerMessage[] = [];
  const lengths = new DataView(body.buffer);
  for (let at = 0; body[at] === 0;) {
    const end = at + 5 + lengths.getUint32(at + 1);
    messages.push(fromBinary(ServerMessageSchema, body.subarray(at + 5, end)));
    at = end;
  }
  return messages;
};

/** Chat with all that is said sent at once, by hand: what fetch can do where connect-web gives up. */
const chattedByHand = async (
  { engineUrl, apiKey }: Task,
  transport: Transport,
): Promise<unknown> => {
  const { agentId } = await createClient(AgentService, transport).createAgent(wishes);
  const payload = { case: "userInput" as const, value: { content: "say hello over there" } };
  const message = toBinary(ClientMessageSchema, create(ClientMessageSchema, { agentId, payload }));
  const body = new Uint8Array(5 + message.length);
  new DataView(body.buffer).setUint32(1, message.length);
  body.set(message, 5);
  const headers = { "content-type": "application/connect+proto", "x-api-key": apiKey };
  const url = `${engineUrl}/engram.api.v1.AgentService/Chat`;
  const answer = await fetch(url, { method: "POST", headers, body });
  const { status } = answer;
  if (!answer.ok) return { status, refusal: await answer.json() };
  const heard = messagesIn(new Uint8Array(await answer.arrayBuffer()));
  const pieces = heard.map(({ payload: { value, case: name } }) =>
    name === "textDelta" ? value.content : "",
  );
  const events = heard.filter(({ payload: { case: name } }) => name !== "textDelta");
  return { status, events: events.map(brief), joined: pieces.join("") };
};

/** What a page of a foreign origin may try: with a preflight, and without. */
const intruded = async ({ engineUrl, apiKey }: Task, transport: Transport): Promise<unknown> => {
  const client = createClient(AgentService, transport);
  const url = `${engineUrl}/engram.api.v1.AgentService/CreateAgent`;
  const body = JSON.stringify(wishes);
  const simple = async (mode: "cors" | "no-cors"): Promise<string> =>
    fetch(url, { method: "POST", mode, body, headers: { "content-type": "text/plain" } }).then(
      ({ type, status }) => `${type} ${status}`,
      (error: unknown) => String(error),
    );
  return {
    call: await refusalOf(client.createAgent(wishes)),
    stream: await refusalOf(Array.fromAsync(client.replay({ agentId: "a" }))),
    simple: await simple("cors"),
    blind: await simple("no-cors"),
    json: await fetch(url, {
      method: "POST",
      body,
      headers: { "content-type": "application/json", "x-api-key": apiKey },
    }).catch(String),
    probe: await fetch(`${engineUrl}/healthz`).catch(String),
  };
};

const report = async (task: Task): Promise<unknown> => {
  const { engineUrl, apiKey } = task;
  const withKey: NonNullable<Parameters<typeof createConnectTransport>[0]["interceptors"]> = [
    (next) => (request) => {
      request.header.set("x-api-key", apiKey);
      return next(request);
    },
  ];
  const options = { baseUrl: engineUrl, interceptors: withKey };
  if (task.does === "intrude") return intruded(task, createConnectTransport(options));
  const said: Record<string, unknown> = {};
  for (const [name, make] of Object.entries(transports))
    said[name] = await spoken(make(options), make({ baseUrl: engineUrl }));
  return { said, chattedByHand: await chattedByHand(task, createConnectTransport(options)) };
};

const main = async (): Promise<void> => {
  const task: Task = JSON.parse(await (await fetch("/task")).text());
  const posted = await report(task).catch((error: unknown) => ({ failed: String(error) }));
  await fetch("/report", { method: "POST", body: JSON.stringify(posted) });
};

await main();
