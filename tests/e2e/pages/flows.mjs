// What an administrator does, one flow a subject. Each works with and without JavaScript.

const tagBox = (page, tag) => page.getByLabel(`Select ${tag}`, { exact: true });

/** The names of tags in the order of the table. */
async function tagNames(page) {
  const links = page.locator('#tags tbody td.break > a');
  return (await links.allTextContents()).map((text) => text.trim());
}

export const flows = {
  async 'the overview shows what fills the disk'(visitor) {
    await visitor.go('/');
    await visitor.sees('What fills the disk');
    await visitor.sees('tools/ci');
  },

  async 'tags are in the order of their versions'(visitor) {
    await visitor.go('/r/library/nginx?sort=version&order=asc');
    const names = (await tagNames(visitor.page)).filter((name) => /^1\./.test(name));
    const wanted = ['1.9.0', '1.10.0', '1.27.3', '1.27.4'];
    const found = names.filter((name) => wanted.includes(name)).filter((name, at, all) => all.indexOf(name) === at);
    if (found.join() !== wanted.join()) throw new Error(`in the order ${found}`);
  },

  async 'hostile text is text'(visitor) {
    for (const path of ['/r/hostile/app', '/r/hostile/app:latest', '/r/hostile/app:file']) {
      await visitor.go(path);
      if ((await visitor.page.title()).includes('owned')) throw new Error('a script of an image ran');
      if (await visitor.page.locator('main img').count()) throw new Error('markup of an image is in the page');
      const links = await visitor.page.locator('a').evaluateAll((all) => all.map((link) => link.getAttribute('href')));
      if (links.some((link) => /^\s*javascript:/i.test(link))) throw new Error('a link runs a script');
    }
  },

  async 'delete several tags, and restore one from the trash'(visitor, { mode }) {
    const { page } = visitor;
    await visitor.go(`/r/scratch/${mode}`);
    await tagBox(page, 'v1').check();
    await tagBox(page, 'v2').check();
    await visitor.press('Delete selected', `/r/scratch/${mode}`);
    await visitor.sees('Deleted.');
    if (await tagBox(page, 'v1').count()) throw new Error('v1 is still there');
    await visitor.go(`/trash?repository=scratch/${mode}`);
    await visitor.press(page.getByRole('button', { name: `Restore scratch/${mode} v1` }));
    await visitor.go(`/r/scratch/${mode}`);
    await page.getByRole('link', { name: 'v1', exact: true }).first().waitFor();
  },

  async 'add a tag, move it, and roll it back'(visitor, { mode, base, ADMIN }) {
    const { api } = await import('./registry.mjs');
    const registry = api(base, 'admin', ADMIN);
    const { page } = visitor;
    const first = await registry.digest(`scratch/${mode}`, 'v3');
    await visitor.go(`/r/scratch/${mode}`);
    await page.getByLabel('Tag', { exact: true }).fill('moving');
    await page.getByLabel('Digest', { exact: true }).fill(first);
    await visitor.press('Add the tag');
    await registry.copyTag(`scratch/${mode}`, 'v1', 'moving');
    await visitor.go(`/r/scratch/${mode}:moving`);
    await visitor.press(page.getByRole('button', { name: /^Roll back/ }));
    const now = await registry.digest(`scratch/${mode}`, 'moving');
    if (now !== first) throw new Error(`the tag points at ${now}`);
  },

  async 'describe a repository'(visitor, { mode }) {
    const { page } = visitor;
    await visitor.go(`/r/scratch/${mode}`);
    await page.locator('details summary').first().click();
    await page.getByLabel('Description, as plain text').fill('A <b>scratch</b> place');
    await visitor.press('Save');
    await visitor.sees('A <b>scratch</b> place');
  },

  async 'rename, delete and restore a repository'(visitor, { mode }) {
    const { page } = visitor;
    await visitor.go(`/manage/scratch/${mode}`);
    await page.getByLabel('New name').fill(`scratch/renamed-${mode}`);
    await visitor.press('Rename');
    await visitor.go(`/manage/scratch/renamed-${mode}`);
    await page.getByLabel('Type the name of the repository to confirm').fill(`scratch/renamed-${mode}`);
    await visitor.press('Delete the repository');
    await eventually(async () => {
      await visitor.go(`/manage/scratch/renamed-${mode}`);
      return (await page.content()).includes('Finished');
    });
    await visitor.press(page.getByRole('button', { name: 'Restore', exact: true }));
    await eventually(async () => {
      await visitor.go(`/r/scratch/renamed-${mode}`);
      return page.getByRole('link', { name: 'v3', exact: true }).count();
    });
  },

  async 'add a user with a role, disable and remove the user'(visitor, { mode }) {
    const { page } = visitor;
    const name = `user-${mode}`;
    await visitor.go('/people');
    const form = page.locator('form[action="/actions/people/add-user"]');
    await form.getByLabel('Name').fill(name);
    await form.getByLabel('Role').selectOption('pull');
    await form.getByLabel('In', { exact: true }).fill('team/');
    await visitor.press('Add the user');
    await visitor.go(`/people/users/${name}`);
    await visitor.sees('team/');
    await visitor.press('Disable');
    await visitor.sees('disabled');
    await visitor.press('Remove', '/people');
    await visitor.go('/people');
    await visitor.seesNothingOf(`/people/users/${name}`);
  },

  async 'create an organisation, a team and a member'(visitor, { mode }) {
    const { page } = visitor;
    const organisation = `org-${mode}`;
    await visitor.go('/people/teams');
    await page.getByLabel('New organisation').fill(organisation);
    await visitor.press(page.locator('form[action="/actions/people/add-organisation"] button'));
    await page.getByLabel(`New team of ${organisation}`).fill('devs');
    await visitor.press(page.locator(`section[aria-labelledby="organisation-${organisation}"]`).getByRole('button', { name: 'Add the team' }));
    const section = page.locator(`section[aria-labelledby="organisation-${organisation}"]`);
    await section.getByLabel('User to add to devs').fill('reader');
    await visitor.press(section.getByRole('button', { name: 'Add', exact: true }));
    await section.getByText('reader').waitFor();
    await visitor.press(section.getByRole('button', { name: `Remove the organisation ${organisation}` }));
    await visitor.seesNothingOf(organisation);
  },

  async 'an access token is shown once and works'(visitor, { base }) {
    const { api } = await import('./registry.mjs');
    const { page } = visitor;
    await visitor.go('/profile');
    const form = page.locator('form[action*="token"]').filter({ has: page.locator('input[name="name"]') }).first();
    if (!(await form.isVisible())) await page.getByText(/access token/i).locator('xpath=ancestor-or-self::summary').first().click();
    await form.locator('input[name="name"]').first().fill('e2e');
    await visitor.press(form.getByRole('button'));
    const secret = /orlop_[0-9a-z]+_[0-9A-Za-z_-]+/.exec(await page.content())?.[0];
    if (!secret) throw new Error('no secret is shown');
    await api(base, 'admin', secret).send('GET', '/v2/');
    await visitor.go('/profile');
    await visitor.seesNothingOf(secret);
    await visitor.press(page.getByRole('button', { name: /^Revoke/ }));
    await api(base, 'admin', secret).send('GET', '/v2/').then(() => { throw new Error('the token still works'); }, () => {});
  },

  async 'preview, save and remove a policy'(visitor, { mode }) {
    const { page } = visitor;
    await visitor.go('/policies/edit');
    await page.locator('textarea[name="policy"]').fill(`name = "old-${mode}"
repositories = ["library/**"]
[[rules]]
name = "newest"
action = "keep"
newest = 2
[[rules]]
name = "rest"
action = "expire"
tags = ["1.*"]
`);
    await visitor.press('Preview');
    await page.getByRole('heading', { name: 'What it would do' }).waitFor();
    await page.getByText('1.9.0').first().waitFor();
    await visitor.press('Save', '/policies');
    await visitor.sees('The policy is saved.');
    await visitor.press(page.getByRole('button', { name: `Remove old-${mode}` }), '/policies');
    await visitor.sees('The policy is removed.');
  },

  async 'a policy with a mistake is not saved'(visitor) {
    const { page } = visitor;
    await visitor.go('/policies/edit');
    await page.locator('textarea[name="policy"]').fill('name = "wrong"\nrulez = 3\n');
    visitor.expected.add(400).add(422);
    await visitor.press('Preview');
    await visitor.sees('cannot be saved');
  },

  async 'import a policy of Amazon ECR'(visitor) {
    const { page } = visitor;
    await visitor.go('/policies');
    await page.locator('textarea[name="document"]').fill(JSON.stringify({
      rules: [{
        rulePriority: 1,
        selection: { tagStatus: 'untagged', countType: 'sinceImagePushed', countUnit: 'days', countNumber: 14 },
        action: { type: 'expire' },
      }],
    }));
    await visitor.press('Translate');
    await page.locator('textarea[name="policy"]').waitFor();
  },

  async 'plan what expires'(visitor) {
    await visitor.go('/policies/plan');
    await visitor.page.getByRole('heading', { name: 'What would be removed' }).waitFor();
  },

  async 'run a job now'(visitor) {
    await visitor.go('/activity/background');
    await visitor.press(visitor.page.getByRole('button', { name: /^Run/ }));
    await visitor.sees('The job has been started.');
  },

  async 'see events, the audit log and the settings'(visitor, { ADMIN }) {
    await visitor.go('/activity');
    await visitor.go('/activity/audit');
    await visitor.sees('sign-in');
    await visitor.go('/activity/settings');
    await visitor.seesNothingOf(ADMIN);
  },

  async 'empty the trash'(visitor, { mode }) {
    const { page } = visitor;
    await visitor.go(`/r/scratch/renamed-${mode}`);
    await tagBox(page, 'v4').check();
    await visitor.press('Delete selected');
    await visitor.go('/trash');
    await visitor.press(page.getByRole('button', { name: /^Empty/ }));
    await visitor.sees('The trash is empty.');
  },

  async 'sign out'(visitor) {
    await visitor.go('/');
    await visitor.press('Sign out');
    await visitor.go('/');
    await visitor.page.getByRole('heading', { name: 'Sign in' }).waitFor();
  },
};

/** Repeats until it is true. */
async function eventually(isTrue) {
  for (let tries = 0; tries < 50; tries += 1) {
    if (await isTrue()) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error('it did not happen in ten seconds');
}
