/** Run by Node: calls AgentService with @grpc/grpc-js, as it comes, and prints what came of it, one line of JSON each. */
import {
  type CallOptions,
  type ChannelOptions,
  type ClientDuplexStream,
  type ClientReadableStream,
  compressionAlgorithms,
  credentials,
  makeGenericClientConstructor,
  Metadata,
  type ServiceError,
  type StatusObject,
  status as statuses,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { readFileSync } from "node:fs";

export type Wishes = {
  readonly does: "calls" | "follow" | "reconnect";
  readonly protoFolder: string;
  /** host:port. */
  readonly target: string;
  /** The certificate to trust; null: no TLS. */
  readonly caPath: string | null;
  readonly apiKey: string;
};

type Message = Record<string, unknown>;
type Outcome = { readonly code: string; readonly details: string };
type Stream = ClientReadableStream<Message>;
type Chat = ClientDuplexStream<Message, Message>;

type Agents = {
  readonly unary: (method: string, request: Message, options?: CallOptions) => Promise<Message>;
  readonly replay: (request: Message, options?: CallOptions) => Stream;
  readonly chat: (metadata?: Metadata) => Chat;
  readonly close: () => void;
};

const outcomeOf = ({ code, details }: StatusObject): Outcome => ({
  code: statuses[code] ?? String(code),
  details,
});

const openAgents = (
  service: string,
  { protoFolder, target, caPath, apiKey }: Wishes,
  options: ChannelOptions = {},
): Agents => {
  const file = `${service.split(".").slice(0, -1).join("/")}/agent.proto`;
  const definitions = loadSync(file, { includeDirs: [protoFolder], longs: String, enums: String });
  const definition = definitions[service];
  if (definition === undefined || "format" in definition) throw new Error(`no ${service}`);
  const channel =
    caPath === null ? credentials.createInsecure() : credentials.createSsl(readFileSync(caPath));
  const Agents = makeGenericClientConstructor(definition, service);
  const client = new Agents(target, channel, options);
  const metadata = new Metadata();
  if (apiKey !== "") metadata.set("x-api-key", apiKey);
  return {
    unary: async (method, request, callOptions = {}) =>
      new Promise((resolve, reject) => {
        const answered = (error: ServiceError | null, response: Message): void =>
          error === null ? resolve(response) : reject(error);
        client[method]?.(request, metadata, callOptions, answered);
      }),
    replay: (request, callOptions = {}) => client["Replay"]?.(request, metadata, callOptions),
    chat: (own = metadata) => client["Chat"]?.(own),
    close: () => client.close(),
  };
};

const said = (agentId: string, content: string): Message => ({ agentId, userInput: { content } });

/** Reads to the end of a stream; gives what came, and its status. */
const heard = async (
  stream: Stream | Chat,
  each: (message: Message) => void = () => {},
): Promise<{ messages: Message[]; outcome: Outcome }> =>
  new Promise((resolve) => {
    const messages: Message[] = [];
    stream.on("data", (message: Message) => {
      // Its form is proto-loader's own.
      delete message["timestamp"];
      messages.push(message);
      each(message);
    });
    // The status tells.
    stream.on("error", () => {});
    stream.on("status", (status: StatusObject) =>
      resolve({ messages, outcome: outcomeOf(status) }),
    );
  });

const refusalOf = async (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => "no refusal",
    (error: ServiceError) => outcomeOf(error),
  );

const contentOf = (messages: readonly Message[], name: string): readonly string[] =>
  messages.flatMap((message) => {
    const value = Object(message[name]);
    return "content" in value ? [String(value.content)] : [];
  });

const firstOf = (messages: readonly Message[], name: string): number =>
  messages.findIndex((message) => name in message);

const wishes = { goal: "help", model: "scripted:1", config: { waitForInput: true } };

const conversation = async ({ unary, chat, replay }: Agents): Promise<Message> => {
  const { agentId } = await unary("CreateAgent", wishes);
  const id = String(agentId);
  const stream = chat();
  let more = ["count to 30", "say good-bye"];
  const speak = (): void => {
    const [next, ...rest] = more;
    more = rest;
    if (next === undefined) stream.end();
    else stream.write(said(id, next));
  };
  const all = heard(stream, (message) => {
    if ("text" in message) speak();
  });
  speak();
  const { messages, outcome } = await all;
  const history = await heard(replay({ agentId, includeHistory: true }));
  return {
    texts: contentOf(messages, "text"),
    joined: contentOf(messages, "textDelta").join(""),
    pieceFirst: firstOf(messages, "textDelta") < firstOf(messages, "text"),
    chat: outcome,
    history: history.messages.map(({ sequenceId }) => sequenceId),
    replay: history.outcome,
  };
};

const large = "ö".repeat(1_500_000);

const unaries = async ({ unary, replay }: Agents): Promise<Message> => {
  const metadata = { ключ: "värde" };
  const { agentId } = await unary("CreateAgent", { ...wishes, metadata });
  const id = String(agentId);
  const control = async (command: Message): Promise<unknown> =>
    (await unary("ControlAgent", { agentId, ...command }))["status"];
  const paused = await control({ pause: {} });
  // Kept while paused, and never worked on.
  await unary("SendMessage", said(id, large));
  const { messages } = await heard(replay({ agentId, includeHistory: true, fromSequence: 3 }));
  const agent = await unary("GetAgent", { agentId });
  return {
    large: messages.map(({ status }) => Object(status).message === large),
    metadata: agent["metadata"],
    controlled: [paused, await control({ cancel: {} })],
    set: (await unary("SetAgentStatus", { agentId, status: "canceled" }))["status"],
    tools: Object.keys(await unary("ListTools", {})),
    deleted: await unary("DeleteAgent", { agentId }),
    gone: await refusalOf(unary("GetAgent", { agentId: " nobody-ü-€-😀, 100% sure: a/b? " })),
    argument: await refusalOf(unary("CreateAgent", { model: "scripted" })),
    tooLarge: await refusalOf(unary("SendMessage", said(id, large + large))),
  };
};

/** Calls that end before their answer: by the client's word, its deadline, or for want of a key. */
const endings = async ({ unary, chat, replay }: Agents): Promise<Message> => {
  const { agentId } = await unary("CreateAgent", { ...wishes, model: "scripted:10" });
  const id = String(agentId);
  const leaving = chat();
  const left = heard(leaving, (message) => {
    if ("textDelta" in message) leaving.cancel();
  });
  leaving.write(said(id, "count to 20"));
  const canceled = (await left).outcome.code;
  // The agent goes on without its client; who attaches and half-closes waits until it rests.
  const waiting = chat();
  waiting.write({ agentId });
  waiting.end();
  await heard(waiting);
  const { messages } = await heard(replay({ agentId }));
  const timeout = { nanos: 50_000_000 };
  const slow = { ...said(id, "count to 500"), timeout };
  const stranger = chat(new Metadata());
  const refused = heard(stranger);
  stranger.write({ agentId });
  const deadline = Date.now() + 200;
  return {
    canceled,
    wentOn: contentOf(messages, "text"),
    late: (await heard(replay({ agentId, follow: true }, { deadline }))).outcome.code,
    tooSlow: await refusalOf(unary("SendMessage", slow)),
    noKey: (await refused).outcome,
  };
};

/** Calls of both kinds, all at once on one channel; gives how many were answered rightly. */
const crowd = async ({ unary, chat }: Agents): Promise<Message> => {
  const { agentId } = await unary("CreateAgent", wishes);
  const asked = Array.from({ length: 200 }, () => unary("GetAgent", { agentId }));
  const spoken = Array.from({ length: 40 }, async (_, n) => {
    const made = await unary("CreateAgent", { ...wishes, model: "scripted:instant" });
    const stream = chat();
    stream.write(said(String(made["agentId"]), `say word ${n}`));
    stream.end();
    const { messages, outcome } = await heard(stream);
    return outcome.code === "OK" && contentOf(messages, "text").join() === `word ${n}`;
  });
  const agents = await Promise.all(asked);
  return {
    asked: agents.filter((agent) => agent["agentId"] === agentId).length,
    spoken: (await Promise.all(spoken)).filter(Boolean).length,
  };
};

const print = (line: unknown): void => console.log(JSON.stringify(line));

const call = async (given: Wishes): Promise<void> => {
  for (const service of ["engram.api.v1.AgentService", "dura.api.v1.AgentService"])
    for (const encoding of [compressionAlgorithms.identity, compressionAlgorithms.gzip]) {
      const agents = openAgents(service, given, {
        "grpc.default_compression_algorithm": encoding,
      });
      print({
        conversation: await conversation(agents),
        unaries: await unaries(agents),
        endings: await endings(agents),
        crowd: await crowd(agents),
      });
      agents.close();
    }
};

/** Follows an agent with keepalive pings, and says when it does and how it ended. */
const follow = async (given: Wishes): Promise<void> => {
  const agents = openAgents("engram.api.v1.AgentService", given, {
    "grpc.keepalive_time_ms": 50,
    "grpc.keepalive_timeout_ms": 3_000,
  });
  const { agentId } = await agents.unary("CreateAgent", wishes);
  let heartbeats = 0;
  const { outcome } = await heard(agents.replay({ agentId, follow: true }), (message) => {
    if ("heartbeat" in message && ++heartbeats === 10) print("following");
  });
  print(outcome);
  agents.close();
};

/** Has one long answer written, over as many streams on one channel as it takes; prints each stream's messages. */
const reconnect = async (given: Wishes): Promise<void> => {
  const agents = openAgents("engram.api.v1.AgentService", given, {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 200,
  });
  const { agentId } = await agents.unary("CreateAgent", { ...wishes, model: "scripted:10" });
  let after = "1";
  let begun = false;
  for (let done = false; !done;) {
    const patient = new Metadata({ waitForReady: true });
    patient.set("x-api-key", given.apiKey);
    const stream = agents.chat(patient);
    const payload = { messageId: "m1", userInput: { content: "write 300 words" } };
    const resumed = after;
    stream.write({ agentId, resumeFromSequence: after, ...payload });
    stream.end();
    const { messages, outcome } = await heard(stream, (message) => {
      if (!("heartbeat" in message || "textDelta" in message))
        after = String(message["sequenceId"]);
      if ("textDelta" in message && !begun) {
        begun = true;
        print("begun");
      }
    });
    print({ resumed, outcome, messages });
    done = outcome.code === "OK";
  }
  agents.close();
};

const doings: Readonly<Record<Wishes["does"], (given: Wishes) => Promise<void>>> = {
  calls: call,
  follow,
  reconnect,
};

const given: Wishes = JSON.parse(process.argv[2] ?? "");
await doings[given.does](given);
