//! Orders one certificate, from the new order to the issued chain (RFC 8555, 7.4).

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, Order,
    OrderStatus, Problem, RetryPolicy,
};

use super::error::AcmeError;
use crate::http::listen::{ActiveChallenge, Challenges};

/// How often and how long the state of an order is polled.
const POLL_POLICY: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// A certificate with its chain and its key, in PEM.
pub(super) struct IssuedCertificate {
    pub(super) chain: String,
    pub(super) key: String,
}

/// Orders a certificate for `names`, as the replacement of another one if given. Meanwhile answers the challenges that
/// prove control of the names.
pub(super) async fn order_certificate(
    account: &Account,
    names: &[String],
    replaces: Option<CertificateIdentifier<'static>>,
    challenges: &Arc<Challenges>,
) -> Result<IssuedCertificate, AcmeError> {
    let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
    let mut order = create_order(account, &identifiers, replaces).await?;
    let active_challenges = answer_challenges(&mut order, challenges).await?;
    let ready = order.poll_ready(&POLL_POLICY).await;
    if !matches!(ready, Ok(OrderStatus::Ready)) {
        check_validation(&mut order).await?;
        ready?;
        return Err(AcmeError::OrderCancelled);
    }
    drop(active_challenges);
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&POLL_POLICY).await?;
    Ok(IssuedCertificate { chain, key })
}

/// Creates an order, as the replacement of a certificate if the authority agrees: its rate limits then don't apply.
async fn create_order(
    account: &Account,
    identifiers: &[Identifier],
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, Error> {
    if let Some(replaced) = replaces {
        match account.new_order(&NewOrder::new(identifiers).replaces(replaced)).await {
            // The certificate may have been replaced before, or belong to another account.
            Err(Error::Api(problem)) => {
                tracing::debug!(%problem, "replacement order rejected; trying an ordinary order");
            }
            order => return order,
        }
    }
    account.new_order(&NewOrder::new(identifiers)).await
}

/// Answers a challenge for each name that the authority has not validated yet.
async fn answer_challenges(
    order: &mut Order,
    challenges: &Arc<Challenges>,
) -> Result<Vec<ActiveChallenge>, AcmeError> {
    let mut answered = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let challenge = authorization.challenge(ChallengeType::TlsAlpn01);
        let mut challenge = challenge.ok_or_else(|| AcmeError::ChallengeNotOffered(name.clone()))?;
        let digest = challenge.key_authorization().digest();
        let digest = digest.as_ref().try_into().map_err(|_| Error::Crypto)?;
        let shown = challenges.respond(&name, digest);
        answered.push(shown.map_err(|error| Error::Other(error.into()))?);
        // Fast authorities already report a failed validation here.
        challenge.set_ready().await.map_err(|error| match error {
            Error::Api(problem) => AcmeError::NotValidated { name, problem },
            error => error.into(),
        })?;
    }
    Ok(answered)
}

/// Fails with the first name that the authority couldn't validate, if it names one.
async fn check_validation(order: &mut Order) -> Result<(), AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else {
            return Ok(());
        };
        let problem: Option<Problem> = state.challenges.iter().find_map(|challenge| challenge.error.clone());
        if let Some(problem) = problem {
            return Err(AcmeError::NotValidated { name, problem });
        }
    }
    Ok(())
}
