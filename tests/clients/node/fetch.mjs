// Posts mail with Node's own fetch: as JSON, as a form with files, and with a wrong key. Prints what was answered.
const { url, key, email } = JSON.parse(process.argv[2]);
const headers = { Authorization: `Bearer ${key}` };

async function posted(body, more) {
  const answer = await fetch(`${url}/api/v1/emails`, { method: "POST", headers: { ...headers, ...more }, body });
  return { status: answer.status, retry: answer.headers.get("retry-after"), body: await answer.json() };
}

const form = new FormData();
form.append("email", JSON.stringify({ ...email, subject: "By form" }));
form.append("attachments", new Blob(["größe"], { type: "text/csv" }), "größe.csv");

console.log(
  JSON.stringify([
    await posted(JSON.stringify(email), { "Content-Type": "application/json" }),
    await posted(form, {}),
    await posted("{}", { "Content-Type": "application/json", Authorization: "Bearer nobody" }),
  ]),
);
