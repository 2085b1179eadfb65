// Writes escoita/hub/vocabulary.json from the npm packages in which Hugging Face publishes the Hub's lists, all MIT. In a
// folder of its own, with the path of the checkout:
//
//     npm install @huggingface/tasks @huggingface/hub @huggingface/languages
//     cp CHECKOUT/tests/cards/make_vocabulary.mjs . && node make_vocabulary.mjs CHECKOUT

import { readFileSync, writeFileSync } from "node:fs";
import { ALL_MODEL_LIBRARY_KEYS, PIPELINE_TYPES } from "@huggingface/tasks";
import * as languages from "@huggingface/languages";

// The Hub's list of licences, https://huggingface.co/docs/hub/repositories-licenses, is ahead of the package.
const NEWER_LICENSES = `eupl-1.2 fair-noncommercial-research-license grok2-community h-research intel-research llama4
    openmdw-1.0 openmdw-1.1`;
// No languages, but values that the Hub takes for one.
const BESIDE_LANGUAGES = ["code", "multilingual"];

const packages = ["tasks", "hub", "languages"].map((name) => `@huggingface/${name}`);
const manifests = packages.map((name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")));
const types = readFileSync("node_modules/@huggingface/hub/src/types/public.ts", "utf8");
const licenses = [.../export type License =([^;]*);/.exec(types)[1].matchAll(/"([^"]+)"/g)].map((match) => match[1]);
const codes = [languages.LANGUAGES_ISO_639_1, languages.LANGUAGES_ISO_639_3].flatMap(Object.keys);
const listed = (values) => [...new Set(values)].sort().join(" ");

const document = {
	from: manifests.map(({ name, version, license }) => `${name} ${version}, ${license}`),
	pipeline_tags: listed(PIPELINE_TYPES),
	libraries: listed(ALL_MODEL_LIBRARY_KEYS),
	licenses: listed([...licenses, ...NEWER_LICENSES.split(/\s+/)]),
	languages: listed([...codes, ...BESIDE_LANGUAGES]),
};
writeFileSync(`${process.argv[2]}/escoita/hub/vocabulary.json`, `${JSON.stringify(document, null, 2)}\n`);
