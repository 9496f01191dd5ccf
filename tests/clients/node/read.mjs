// Reads messages with postal-mime: base64 in a JSON list on standard input, what it finds as JSON on standard output.
import PostalMime from "postal-mime";
import { json } from "node:stream/consumers";

const people = (found) => [found ?? []].flat().map(({ name, address }) => [name, address]);

const read = async (raw) => {
  const found = await PostalMime.parse(Buffer.from(raw, "base64"), { attachmentEncoding: "base64" });
  return {
    subject: found.subject ?? "",
    people: { From: people(found.from), To: people(found.to), Cc: people(found.cc), "Reply-To": people(found.replyTo) },
    text: found.text ?? "",
    html: found.html ?? "",
    files: found.attachments.map((each) => [
      each.filename ?? "",
      each.content,
      each.mimeType,
      (each.contentId ?? "").replace(/^<|>$/g, ""),
    ]),
  };
};

console.log(JSON.stringify(await Promise.all((await json(process.stdin)).map(read))));
