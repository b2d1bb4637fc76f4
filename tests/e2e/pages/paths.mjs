// The pages of the run that looks at all of them.

import { api } from './registry.mjs';

/** The digests that paths need. */
export async function pathsOf(base, password) {
  const registry = api(base, 'admin', password);
  return {
    index: await registry.digest('library/nginx', 'latest'),
    image: await registry.digest('team/backend/api', 'main'),
  };
}

/** The name and path of every page. */
export function everyPage({ index, image }) {
  return [
    ['overview', '/'],
    ['repositories', '/repositories'],
    ['namespace', '/repositories?prefix=team/'],
    ['repository', '/r/library/nginx'],
    ['many-tags', '/r/team/backend/api?sort=pushed'],
    ['index', '/r/library/nginx:latest?show=why'],
    ['image', `/r/team/backend/api@${image}?show=why`],
    ['index-by-digest', `/r/library/nginx@${index}`],
    ['chart', '/r/charts/app:1.2.3'],
    ['model', '/r/models/tiny:q4'],
    ['wasm', '/r/wasm/filter:v1'],
    ['opa', '/r/policies/opa:main'],
    ['hostile', '/r/hostile/app:latest'],
    ['hostile-file', '/r/hostile/app:file'],
    ['untagged', '/untagged/team/backend/worker'],
    ['manage', '/manage/team/backend/api'],
    ['search', '/search?q=backend'],
    ['policies', '/policies'],
    ['policy-edit', '/policies/edit?preset=ci'],
    ['trash', '/trash'],
    ['activity', '/activity'],
    ['audit', '/activity/audit'],
    ['background', '/activity/background'],
    ['adoption', '/adoption'],
    ['settings', '/activity/settings'],
    ['people', '/people'],
    ['user', '/people/users/pusher'],
    ['teams', '/people/teams'],
    ['roles', '/people/roles'],
    ['tokens', '/people/tokens'],
    ['sessions', '/people/sessions'],
    ['profile', '/profile'],
  ];
}
