import { expect, test } from "bun:test";
import { runPython } from "../support/python.ts";
import { openTestServer } from "../support/server.ts";

/** The first run on a machine installs the Python packages. */
const timeoutMs = 180_000;

const internal = {
  code: "INTERNAL",
  details: "internal error: the server's log has the cause",
};
const spoken = (agent: string, ...texts: string[]): unknown[] =>
  texts.map((text, at) => [agent, at + 1, text]);

const answers = (service: string): unknown => ({
  unary: "tidy up",
  gzip: "ggg",
  refuse: { code: "NOT_FOUND", details: "there is no agent x" },
  bug: internal,
  unknown: internal,
  large: { code: "RESOURCE_EXHAUSTED", details: expect.stringContaining("4194304") },
  get: "a",
  gzipped_get: "a",
  chat: spoken("a", "echo one", "echo two", "echo three"),
  empty_chat: { code: "INVALID_ARGUMENT", details: "the call ended before its first message" },
  replay: spoken("r", "old", "old", "old"),
  replay_bug: internal,
  not_there: {
    code: "UNIMPLEMENTED",
    details: `${service}.SetAgentStatus is not implemented`,
  },
});

test(
  "grpcio calls both services, with stubs that protoc made of proto/",
  async () => {
    await using server = await openTestServer();
    expect(await runPython("agents.py", [server.target, "-"])).toEqual({
      engram: answers("engram.api.v1.AgentService"),
      dura: answers("dura.api.v1.AgentService"),
      nothing: {
        code: "UNIMPLEMENTED",
        details: expect.stringContaining(
          "nothing is served at /engram.api.v1.AgentService/Nothing",
        ),
      },
    });
    const causes = server.logged
      .filter(({ level }) => level === "error")
      .map(({ fields }) => String(fields["cause"]));
    expect(causes.length).toBe(6);
    expect(causes.every((cause) => cause.includes("hush"))).toBe(true);
  },
  timeoutMs,
);

const methods = [
  "CreateAgent",
  "GetAgent",
  "ListAgents",
  "DeleteAgent",
  "ControlAgent",
  "Chat",
  "Replay",
  "SetAgentStatus",
  "SendMessage",
  "ForkAgent",
  "ListTools",
];
const servicesHere = {
  "engram.api.v1.AgentService": methods,
  "dura.api.v1.AgentService": methods,
  "grpc.health.v1.Health": ["Check", "Watch"],
  "grpc.reflection.v1.ServerReflection": ["ServerReflectionInfo"],
  "grpc.reflection.v1alpha.ServerReflection": ["ServerReflectionInfo"],
};
const agentFile = { kind: "file_descriptor_response", host: "", files: 5 };
const absent = { kind: "error_response", host: "", code: 5 };
const questionsAnswered = [
  { kind: "list_services_response", host: "" },
  agentFile,
  absent,
  agentFile,
  agentFile,
  { kind: "file_descriptor_response", host: "", files: 1 },
  absent,
  { kind: "all_extension_numbers_response", host: "" },
  absent,
  { kind: "error_response", host: "h", code: 3 },
];

test(
  "grpcio's own clients understand health and reflection",
  async () => {
    await using server = await openTestServer();
    const { health, reflection } = (await runPython("services.py", [server.target])) as Record<
      string,
      Record<string, unknown>
    >;
    const serving = {
      "": "SERVING",
      "engram.api.v1.AgentService": "SERVING",
      "dura.api.v1.AgentService": "SERVING",
    };
    expect(health).toEqual({
      check: {
        ...serving,
        "nobody.v1.Nothing": {
          code: "NOT_FOUND",
          details: "there is no service nobody.v1.Nothing here",
        },
      },
      watch: { ...serving, "nobody.v1.Nothing": "SERVICE_UNKNOWN" },
    });
    expect(reflection?.["methods"]).toEqual(servicesHere);
    expect(reflection?.["agent_fields"]).toMatchObject({ agent_id: 1, forked_at_sequence: 15 });
    expect(reflection?.["raw"]).toEqual({ v1: questionsAnswered, v1alpha: questionsAnswered });
  },
  timeoutMs,
);

test(
  "with keys, grpcio is let in by one of them; health needs none",
  async () => {
    await using server = await openTestServer({ apiKeys: ["first", "second"] });
    const [right, wrong, services] = (await Promise.all([
      runPython("agents.py", [server.target, "-", "second"]),
      runPython("agents.py", [server.target, "-", "third"]),
      runPython("services.py", [server.target]),
    ])) as Record<string, Record<string, unknown>>[];
    expect(right?.["engram"]?.["unary"]).toBe("tidy up");
    const refused = { code: "UNAUTHENTICATED", details: expect.stringContaining("x-api-key") };
    for (const call of Object.values(wrong?.["engram"] ?? {})) expect(call).toEqual(refused);
    expect(wrong?.["nothing"]).toEqual(refused);
    expect(services?.["health"]?.["check"]).toMatchObject({ "": "SERVING" });
    expect(services?.["reflection"]).toMatchObject({ code: "UNAUTHENTICATED" });
    expect(JSON.stringify(server.logged)).not.toContain("third");
    expect(server.logged.some(({ level }) => level === "warn")).toBe(true);
  },
  timeoutMs,
);
