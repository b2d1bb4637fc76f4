//! Accounts, tokens, teams and grants.

use super::*;
use crate::metadata::{
    AccountChange, AccountKind, AccountOutcome, AccountRecord, AccountRecords, GrantRecord, Grantee,
    MAX_SESSIONS_PER_ACCOUNT, MAX_TOKENS_PER_ACCOUNT, Role, Scope, SessionRecord, Team, TokenRecord,
};

fn person(name: &str) -> AccountRecord {
    AccountRecord {
        name: name.into(),
        kind: AccountKind::Person,
        password: Some("hash".into()),
        identity: None,
        disabled: false,
        created_at: at(0),
        by: Some("admin".into()),
    }
}

fn token(id: &str, account: &str, hour: i64, bound: bool) -> TokenRecord {
    TokenRecord {
        id: id.into(),
        account: account.into(),
        name: "ci".into(),
        hash: [7; 32],
        role: Role::Push,
        scope: scope("team/"),
        bound: bound.then(|| "fingerprint".into()),
        created_at: at(hour),
        expires_at: Some(at(hour + 10)),
        used_at: None,
    }
}

fn scope(text: &str) -> Scope {
    text.parse().expect("a scope")
}

fn team(text: &str) -> Team {
    text.parse().expect("a team")
}

fn grant(grantee: &str, to: &str, role: Role) -> AccountChange {
    let grantee = grantee.parse().expect("a grantee");
    AccountChange::Grant(GrantRecord { grantee, scope: scope(to), role, set_at: at(1), by: None })
}

async fn change(s: &Scene, change: AccountChange) -> AccountOutcome {
    s.store.change_accounts(change).await.expect("an answer")
}

async fn expect_done(s: &Scene, what: AccountChange) {
    assert_eq!(change(s, what.clone()).await, AccountOutcome::Done, "{what:?}");
}

async fn all(s: &Scene) -> AccountRecords {
    s.store.accounts().await.expect("an answer")
}

/// Records are read back, also by another process.
pub async fn account_exists_until_removed(s: &Scene) {
    assert_eq!(all(s).await, AccountRecords::default());
    let ann = person("ann");
    expect_done(
        s,
        AccountChange::Add(ann.clone(), vec![(scope("team/"), Role::Push), (scope(""), Role::Pull)]),
    )
    .await;
    let again =
        AccountChange::Add(AccountRecord { password: None, ..ann.clone() }, vec![(scope("x"), Role::Admin)]);
    assert_eq!(change(s, again).await, AccountOutcome::Taken);
    let known = AccountRecord { identity: Some("https://id 7".into()), ..person("bob") };
    expect_done(s, AccountChange::Add(known.clone(), Vec::new())).await;
    assert_eq!(all(s).await.accounts, [ann.clone(), known.clone()]);
    let twice = AccountChange::Add(AccountRecord { name: "eve".into(), ..known }, Vec::new());
    assert_eq!(change(s, twice).await, AccountOutcome::Taken, "an identity belongs to one user");
    expect_done(s, AccountChange::Remove("bob".into())).await;
    let found = all(s).await;
    assert_eq!(found.accounts, [ann]);
    let roles: Vec<_> = found.grants.iter().map(|grant| (grant.scope.as_str(), grant.role)).collect();
    assert_eq!(roles, [("", Role::Pull), ("team/", Role::Push)]);
    expect_done(s, AccountChange::SetPassword("ann".into(), "other".into())).await;
    expect_done(s, AccountChange::SetDisabled("ann".into(), true)).await;
    let found = all(s).await;
    assert_eq!((found.accounts[0].password.as_deref(), found.accounts[0].disabled), (Some("other"), true));
    expect_done(s, AccountChange::Remove("ann".into())).await;
    assert_eq!(all(s).await, AccountRecords::default(), "the account leaves nothing behind");
    for gone in [
        AccountChange::SetPassword("ann".into(), "x".into()),
        AccountChange::SetDisabled("ann".into(), false),
        AccountChange::Remove("ann".into()),
        AccountChange::RemoveToken("t".into()),
        AccountChange::Revoke(Grantee::Users, scope("")),
    ] {
        assert_eq!(change(s, gone.clone()).await, AccountOutcome::Unknown, "{gone:?}");
    }
}

/// Removing an organisation removes its teams and the roles granted to them.
pub async fn team_roles_end_with_the_team(s: &Scene) {
    assert_eq!(change(s, AccountChange::AddTeam(team("acme/devs"))).await, AccountOutcome::Unknown);
    expect_done(s, AccountChange::AddOrganisation("acme".into(), at(0), None)).await;
    assert_eq!(
        change(s, AccountChange::AddOrganisation("acme".into(), at(0), None)).await,
        AccountOutcome::Taken
    );
    assert_eq!(change(s, grant("acme/devs", "acme/", Role::Push)).await, AccountOutcome::Unknown);
    assert_eq!(
        change(s, AccountChange::Join(team("acme/devs"), "ann".into())).await,
        AccountOutcome::Unknown
    );
    for name in ["acme/devs", "acme/ops"] {
        expect_done(s, AccountChange::AddTeam(team(name))).await;
        expect_done(s, AccountChange::Join(team(name), "ann".into())).await;
        expect_done(s, grant(name, "acme/", Role::Push)).await;
    }
    expect_done(s, grant("acme/devs", "acme/", Role::Delete)).await;
    assert_eq!(change(s, AccountChange::Join(team("acme/ops"), "ann".into())).await, AccountOutcome::Taken);
    expect_done(s, AccountChange::Join(team("acme/ops"), "bob".into())).await;
    expect_done(s, AccountChange::Leave(team("acme/ops"), "ann".into())).await;
    let found = all(s).await;
    assert_eq!(found.members, [(team("acme/devs"), "ann".into()), (team("acme/ops"), "bob".into())]);
    assert_eq!(found.grants.len(), 2);
    assert_eq!(found.grants[0].role, Role::Delete, "a role replaces the earlier one");
    expect_done(s, AccountChange::RemoveTeam(team("acme/ops"))).await;
    assert_eq!(all(s).await.grants.len(), 1);
    expect_done(s, AccountChange::RemoveOrganisation("acme".into())).await;
    assert_eq!(all(s).await, AccountRecords::default());
}

/// Tokens end when they expire, are removed, or their account is removed. Bound tokens also end with the
/// password.
pub async fn tokens_end_by_expiry_removal_account_and_password(s: &Scene) {
    expect_done(s, AccountChange::Add(person("ann"), Vec::new())).await;
    expect_done(s, AccountChange::AddToken(token("one", "ann", 0, false))).await;
    assert_eq!(
        change(s, AccountChange::AddToken(token("one", "bob", 0, false))).await,
        AccountOutcome::Taken
    );
    expect_done(s, AccountChange::AddToken(token("two", "ann", 1, true))).await;
    assert_eq!(all(s).await.tokens, [token("one", "ann", 0, false), token("two", "ann", 1, true)]);
    s.store.record_token_uses(vec![("one".into(), at(3)), ("none".into(), at(3))]).await.expect("recorded");
    s.store.record_token_uses(vec![("one".into(), at(2))]).await.expect("recorded");
    assert_eq!(all(s).await.tokens[0].used_at, Some(at(3)));
    expect_done(s, AccountChange::SetPassword("ann".into(), "other".into())).await;
    let ids = async || all(s).await.tokens.into_iter().map(|token| token.id).collect::<Vec<_>>();
    assert!(ids().await.is_empty(), "anyone who knew the password may have created them");
    let robot = AccountRecord { kind: AccountKind::Robot, ..person("ci") };
    expect_done(s, AccountChange::AddToken(token("old", "ci", 0, false))).await;
    expect_done(s, AccountChange::Add(robot, Vec::new())).await;
    assert!(ids().await.is_empty(), "an account inherits nothing from an earlier one of the same name");
    for (id, bound) in [("one", false), ("two", true)] {
        expect_done(s, AccountChange::AddToken(token(id, "ci", 0, bound))).await;
    }
    expect_done(s, AccountChange::SetPassword("ci".into(), "other".into())).await;
    assert_eq!(ids().await, ["one"]);
    assert_eq!(s.store.forget_tokens(at(9)).await.expect("an answer"), 0);
    assert_eq!(s.store.forget_tokens(at(10)).await.expect("an answer"), 1);
    expect_done(s, AccountChange::AddToken(token("three", "ann", 1, false))).await;
    expect_done(s, AccountChange::RemoveToken("three".into())).await;
    assert!(ids().await.is_empty());
}

/// A robot that logs in for each job does not fill the store and does not remove tokens in use.
pub async fn bound_tokens_replace_the_least_recently_used(s: &Scene) {
    expect_done(s, AccountChange::AddToken(token("mine", "ann", 0, false))).await;
    for hour in 0..MAX_TOKENS_PER_ACCOUNT {
        expect_done(s, AccountChange::AddToken(token(&format!("t{hour:04}"), "ann", hour, true))).await;
    }
    s.store.record_token_uses(vec![("t0000".into(), at(MAX_TOKENS_PER_ACCOUNT))]).await.expect("recorded");
    expect_done(s, AccountChange::AddToken(token("late", "ann", MAX_TOKENS_PER_ACCOUNT, true))).await;
    let found: Vec<_> = all(s).await.tokens.into_iter().map(|token| token.id).collect();
    assert_eq!(i64::try_from(found.len()), Ok(MAX_TOKENS_PER_ACCOUNT + 1));
    for (id, there) in [("mine", true), ("late", true), ("t0000", true), ("t0001", false), ("t0002", true)] {
        assert_eq!(found.iter().any(|found| found == id), there, "{id}");
    }
    for more in 1..MAX_TOKENS_PER_ACCOUNT {
        expect_done(s, AccountChange::AddToken(token(&format!("p{more:04}"), "ann", 0, false))).await;
    }
    let full = AccountChange::AddToken(token("full", "ann", 0, false));
    assert_eq!(change(s, full).await, AccountOutcome::Full, "tokens that a user created are not replaced");
    expect_done(s, AccountChange::AddToken(token("bob", "bob", 0, false))).await;
}

fn session(id: &str, account: &str, hour: i64) -> SessionRecord {
    SessionRecord {
        id: id.into(),
        hash: *digest(id).hash().first_chunk().expect("32 bytes"),
        account: account.into(),
        credential_fingerprint: "fingerprint".into(),
        address: "192.0.2.1".parse().expect("an address"),
        client: "a browser".into(),
        created_at: at(hour),
        used_at: at(hour),
    }
}

/// Ids of the sessions of all accounts.
async fn session_ids(s: &Scene) -> Vec<String> {
    all(s).await.sessions.into_iter().map(|session| session.id).collect()
}

/// Sessions end with the password, and when their account is disabled or removed.
pub async fn sessions_end_by_request_account_and_password(s: &Scene) {
    for name in ["ann", "bob"] {
        expect_done(s, AccountChange::Add(person(name), Vec::new())).await;
    }
    let start = async |ids: &[&str], account| {
        for id in ids {
            expect_done(s, AccountChange::AddSession(session(id, account, 0))).await;
        }
    };
    start(&["a", "b", "c"], "ann").await;
    start(&["d"], "bob").await;
    assert_eq!(all(s).await.sessions[3], session("d", "bob", 0));
    let again = AccountChange::AddSession(SessionRecord { id: "e".into(), ..session("d", "bob", 0) });
    assert_eq!(change(s, again).await, AccountOutcome::Taken, "a secret belongs to one session");
    s.store.record_session_uses(vec![("a".into(), at(3)), ("none".into(), at(3))]).await.expect("recorded");
    s.store.record_session_uses(vec![("a".into(), at(2))]).await.expect("recorded");
    let records = all(s).await.sessions;
    assert_eq!((records[2].id.as_str(), records[2].used_at), ("a", at(3)));
    expect_done(s, AccountChange::EndSession("b".into())).await;
    assert_eq!(change(s, AccountChange::EndSession("b".into())).await, AccountOutcome::Unknown);
    expect_done(s, AccountChange::EndSessions("ann".into(), Some("a".into()))).await;
    assert_eq!(session_ids(s).await, ["a", "d"]);
    expect_done(s, AccountChange::EndSessions("ann".into(), None)).await;
    assert_eq!(session_ids(s).await, ["d"]);
    start(&["a"], "ann").await;
    expect_done(s, AccountChange::SetPassword("ann".into(), "other".into())).await;
    assert_eq!(session_ids(s).await, ["d"]);
    start(&["a"], "ann").await;
    expect_done(s, AccountChange::SetDisabled("ann".into(), true)).await;
    assert_eq!(session_ids(s).await, ["d"]);
    start(&["a"], "ann").await;
    expect_done(s, AccountChange::SetDisabled("ann".into(), false)).await;
    assert_eq!(session_ids(s).await, ["a", "d"]);
    expect_done(s, AccountChange::Remove("ann".into())).await;
    s.store.forget_sessions(vec!["d".into(), "none".into()]).await.expect("removed");
    assert!(session_ids(s).await.is_empty());
}

/// A user who never signs out does not fill the store.
pub async fn session_replaces_the_least_recently_used(s: &Scene) {
    for hour in 0..MAX_SESSIONS_PER_ACCOUNT {
        expect_done(s, AccountChange::AddSession(session(&format!("s{hour:02}"), "ann", hour))).await;
    }
    expect_done(s, AccountChange::AddSession(session("bob", "bob", 0))).await;
    let late = MAX_SESSIONS_PER_ACCOUNT;
    s.store.record_session_uses(vec![("s00".into(), at(late))]).await.expect("recorded");
    expect_done(s, AccountChange::AddSession(session("late", "ann", late))).await;
    let found = session_ids(s).await;
    assert_eq!(i64::try_from(found.len()), Ok(MAX_SESSIONS_PER_ACCOUNT + 1));
    for (id, is_there) in [("s00", true), ("s01", false), ("s02", true), ("late", true), ("bob", true)] {
        assert_eq!(found.iter().any(|found| found == id), is_there, "{id}");
    }
}
