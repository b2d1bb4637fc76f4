// The registry protocol and the API, as far as the runs need them.

import http from 'node:http';
import https from 'node:https';

/** Requests to the registry at `base` as a user. Names of the runs are this machine. */
export function api(base, user, password) {
  const url = new URL(base);
  const client = url.protocol === 'https:' ? https : http;
  const send = (method, path, { headers = {}, body } = {}) =>
    new Promise((resolve, reject) => {
      const request = client.request({
        host: '127.0.0.1', port: url.port, method, path, rejectUnauthorized: false,
        headers: { host: url.host, ...headers },
        auth: `${user}:${password}`,
      }, (response) => {
        const pieces = [];
        response.on('data', (piece) => pieces.push(piece));
        response.on('end', () => {
          const text = Buffer.concat(pieces).toString();
          if (response.statusCode >= 400) reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
          else resolve({ headers: response.headers, text });
        });
      });
      request.on('error', reject);
      request.end(body);
    });
  return {
    send,
    /** Pushes the manifest of a tag under another tag. */
    async copyTag(repository, from, to) {
      const accept = ['application/vnd.oci.image.index.v1+json', 'application/vnd.oci.image.manifest.v1+json'].join();
      const { headers, text } = await send('GET', `/v2/${repository}/manifests/${from}`, { headers: { accept } });
      const put = { headers: { 'content-type': headers['content-type'] }, body: text };
      await send('PUT', `/v2/${repository}/manifests/${to}`, put);
      return headers['docker-content-digest'];
    },
    async digest(repository, tag) {
      const accept = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json';
      const { headers } = await send('HEAD', `/v2/${repository}/manifests/${tag}`, { headers: { accept } });
      return headers['docker-content-digest'];
    },
    async json(path) {
      return JSON.parse((await send('GET', `/api/v1${path}`)).text);
    },
  };
}

/** Pushes what a run may change: `scratch/MODE` with the tags v1 to v4, of two different images. */
export async function pushScratch(base, password, mode) {
  const { send, copyTag } = api(base, 'admin', password);
  const { createHash } = await import('node:crypto');
  const digestOf = (text) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
  const name = `scratch/${mode}`;
  for (const [tag, content] of [['v1', 'one'], ['v3', 'two']]) {
    const layer = Buffer.from(`${mode} ${content}`);
    const config = JSON.stringify({
      architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
    });
    for (const blob of [layer, config]) await send('POST', `/v2/${name}/blobs/uploads/?digest=${digestOf(blob)}`, { body: blob });
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: config.length },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digestOf(layer), size: layer.length }],
    });
    const headers = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };
    await send('PUT', `/v2/${name}/manifests/${tag}`, { headers, body: manifest });
  }
  await copyTag(name, 'v1', 'v2');
  await copyTag(name, 'v3', 'v4');
}
