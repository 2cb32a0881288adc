import { describe, expect, test } from "bun:test";
import { asking, assistant, collect, result, toolNamed, user } from "../support/model-reply.ts";
import { withOpenAi } from "../support/with-openai.ts";

const { fake, openModel } = await withOpenAi();

describe("a request", () => {
  const sent = async (model = openModel(), ...args: Parameters<typeof asking>) => {
    const at = fake.chats.length;
    const request = asking(...args);
    fake.next((x) => x.finish());
    await collect(model, request);
    const { body, bodyText } = await fake.chat(at);
    expect(bodyText).toBe(model.bodyOf(request));
    return body;
  };

  test("carries the whole conversation as OpenAI takes it", async () => {
    const body = await sent(openModel(), [
      { role: "system", content: "s" },
      { role: "user", content: "u", images: [] },
      assistant("t", "f", "g"),
      result("f", "r"),
      result("g", "q"),
      assistant("", "h"),
      result("h", "p"),
      assistant("said"),
      user("more"),
    ]);
    const call = (name: string) => ({
      id: `id-${name}`,
      type: "function",
      function: { name, arguments: "{}" },
    });
    expect(body["messages"]).toEqual([
      { role: "system", content: "s" },
      { role: "user", content: "u" },
      { role: "assistant", content: "t", tool_calls: [call("f"), call("g")] },
      { role: "tool", tool_call_id: "id-f", content: "r", name: "f" },
      { role: "tool", tool_call_id: "id-g", content: "q", name: "g" },
      { role: "assistant", content: null, tool_calls: [call("h")] },
      { role: "tool", tool_call_id: "id-h", content: "p", name: "h" },
      { role: "assistant", content: "said" },
      { role: "user", content: "more" },
    ]);
    expect(
      (
        await collect(
          openModel(),
          asking([user("u"), assistant("t", "f"), result("f", "r"), user("say hi")]),
        )
      ).text,
    ).toEndWith(" hi");
  });

  test.each([
    ["image/png", "\x89PNG\r\n\x1a\n"],
    ["image/jpeg", "\xff\xd8\xff\xe0"],
    ["image/gif", "GIF89a"],
    ["image/webp", "RIFF\x01\x02\x03\x04WEBPVP8 "],
    ["image/png", "?"],
  ])("says that an image is %s", async (type, bytes) => {
    const image = Buffer.from(`${bytes}and so on`, "latin1").toString("base64");
    const look = { role: "user", content: "look", images: [image, image] } as const;
    const part = { type: "image_url", image_url: { url: `data:${type};base64,${image}` } };
    expect((await sent(openModel(), [look]))["messages"]).toEqual([
      { role: "user", content: [{ type: "text", text: "look" }, part, part] },
    ]);
  });

  test("joins what a user says in a row, images and all, for templates whose roles alternate", async () => {
    const images = ["QUFB", "QkJC", "Q0ND"];
    const looks = images.map((image) => ({ ...user(`look at ${image}`), images: [image] }));
    const body = await sent(openModel(), [...looks, assistant("seen"), user("and"), user("now?")]);
    const [look, seen, more, ...others] = body["messages"] as { role: string; content: unknown }[];
    expect(look?.content).toEqual([
      { type: "text", text: images.map((image) => `look at ${image}`).join("\n\n") },
      ...images.map((image) => ({
        type: "image_url",
        image_url: { url: `data:image/png;base64,${image}` },
      })),
    ]);
    expect([seen, more, ...others]).toEqual([
      { role: "assistant", content: "seen" },
      { role: "user", content: "and\n\nnow?" },
    ]);
  });

  test("puts options beside the rest, which they do not change", async () => {
    const options = { max_tokens: 9, temperature: 0.1, model: "x", messages: [], stream: false };
    const own = {
      model: "qwen3",
      messages: [{ role: "user", content: "x" }],
      stream: true,
      stream_options: { include_usage: true },
    };
    expect(await sent(openModel({ options }), [user("x")])).toEqual({
      ...own,
      max_tokens: 9,
      temperature: 0.1,
    });
    expect(await sent(openModel({ options }), [user("x")], { temperature: 0.7 })).toEqual({
      ...own,
      max_tokens: 9,
      temperature: 0.7,
    });
    expect(await sent(openModel(), [user("x")])).toEqual(own);
  });

  test("leaves out what options say is null", async () => {
    const options = { stream_options: null, reasoning_effort: null, top_k: null };
    expect(await sent(openModel({ options }), [user("x")], { thinking: true })).toEqual({
      model: "qwen3",
      messages: [{ role: "user", content: "x" }],
      stream: true,
    });
  });

  test("names how tools are to be used only where there are some", async () => {
    const options = { tool_choice: "auto", parallel_tool_calls: false, top_k: 1 };
    const model = openModel({ options });
    expect(await sent(model, [user("x")], { tools: [toolNamed("f")] })).toMatchObject(options);
    const { tool_choice, parallel_tool_calls, top_k } = await sent(model, [user("x")]);
    expect([tool_choice, parallel_tool_calls, top_k]).toEqual([undefined, undefined, 1]);
  });

  test("asks for thinking and for a form of the answer only where they are wanted", async () => {
    const format = { type: "object", properties: {} };
    expect(await sent(openModel(), [user("x")], { thinking: true, format })).toMatchObject({
      reasoning_effort: "medium",
      response_format: { type: "json_schema", json_schema: { name: "answer", schema: format } },
    });
    const options = { reasoning_effort: "low" };
    expect(await sent(openModel({ options }), [user("x")], { thinking: true })).toMatchObject(
      options,
    );
    expect(Object.keys(await sent(openModel(), [user("x")]))).not.toContain("reasoning_effort");
  });

  test("offers tools with schemas that OpenAI takes", async () => {
    const odd = { name: "odd", description: "", parameters: { properties: true, required: ["a"] } };
    const body = await sent(openModel(), [user("x")], { tools: [toolNamed("f"), odd] });
    const { parameters } = toolNamed("f");
    expect(body["tools"]).toEqual([
      { type: "function", function: { name: "f", description: "the f", parameters } },
      {
        type: "function",
        function: {
          name: "odd",
          description: "",
          parameters: { type: "object", properties: {}, required: ["a"] },
        },
      },
    ]);
  });

  test("says that an answer is to be gone on with where the server can, and only of such", async () => {
    const options = { continue_final_message: true, add_generation_prompt: true, top_k: 1 };
    const model = openModel({ options });
    const fields = ["continue_final_message", "add_generation_prompt", "top_k"];
    const kept = async (...messages: Parameters<typeof asking>[0]) => {
      const body = await sent(model, messages);
      return fields.map((field) => body[field]);
    };
    expect(await kept(user("x"))).toEqual([undefined, undefined, 1]);
    expect(await kept(user("x"), assistant("", "f"), result("f", "r"))).toEqual([
      undefined,
      undefined,
      1,
    ]);
    expect(await kept(user("x"), assistant("once"))).toEqual([true, false, 1]);
    const plain = await sent(openModel(), [user("x"), assistant("once")]);
    expect(Object.keys(plain)).not.toContain("continue_final_message");
  });

  test("goes to where the base URL leads, with what it asks", async () => {
    await collect(openModel({ url: `${fake.url}/deep/?api-version=7#x` }), asking([user("hello")]));
    expect(fake.others.map(({ path }) => path)).toEqual([
      "/v1/deep/chat/completions?api-version=7",
    ]);
    fake.next((x) => x.finish());
    expect(
      (await collect(openModel({ url: `${fake.url}/` }), asking([user("hello")]))).error,
    ).toBeUndefined();
  });
});
