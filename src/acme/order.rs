//! One certificate, from the question to the answer (RFC 8555, 7.4).

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, Order,
    OrderStatus, Problem, RetryPolicy,
};

use super::error::AcmeError;
use crate::http::listen::{Answered, Challenges};

/// How the authority is asked how far it is.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// A certificate with its chain, and its key, in PEM.
pub(super) struct Given {
    pub(super) chain: String,
    pub(super) key: String,
}

/// Asks for a certificate for `names`, in the place of another one where that is told, and shows meanwhile that they are this server's.
pub(super) async fn order(
    account: &Account,
    names: &[String],
    replaces: Option<CertificateIdentifier<'static>>,
    challenges: &Arc<Challenges>,
) -> Result<Given, AcmeError> {
    let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
    let mut order = new(account, &identifiers, replaces).await?;
    let answered = answer(&mut order, challenges).await?;
    let ready = order.poll_ready(&PATIENCE).await;
    if !matches!(ready, Ok(OrderStatus::Ready)) {
        refused(&mut order).await?;
        ready?;
        return Err(AcmeError::Ended);
    }
    drop(answered);
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    Ok(Given { chain, key })
}

/// A new order, in the place of a certificate if the authority agrees: its limits then do not count.
async fn new(
    account: &Account,
    identifiers: &[Identifier],
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, Error> {
    if let Some(replaced) = replaces {
        match account.new_order(&NewOrder::new(identifiers).replaces(replaced)).await {
            // That one may have been replaced before, or given to another account.
            Err(Error::Api(problem)) => {
                tracing::debug!(%problem, "an order is tried as one that replaces nothing")
            }
            order => return order,
        }
    }
    account.new_order(&NewOrder::new(identifiers)).await
}

/// Answers for each name that the authority does not know yet to be this server's.
async fn answer(order: &mut Order, challenges: &Arc<Challenges>) -> Result<Vec<Answered>, AcmeError> {
    let mut answered = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let challenge = authorization.challenge(ChallengeType::TlsAlpn01);
        let mut challenge = challenge.ok_or_else(|| AcmeError::NotOffered(name.clone()))?;
        let digest = challenge.key_authorization().digest();
        let digest = digest.as_ref().try_into().map_err(|_| Error::Crypto)?;
        let shown = challenges.answer(&name, digest);
        answered.push(shown.map_err(|error| Error::Other(error.into()))?);
        // Authorities that are quick tell here already that they did not find it.
        challenge.set_ready().await.map_err(|error| match error {
            Error::Api(problem) => AcmeError::NotOurs { name, problem },
            error => error.into(),
        })?;
    }
    Ok(answered)
}

/// The first name that the authority did not find to be this server's, if it tells one.
async fn refused(order: &mut Order) -> Result<(), AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else {
            return Ok(());
        };
        let problem: Option<Problem> = state.challenges.iter().find_map(|challenge| challenge.error.clone());
        if let Some(problem) = problem {
            return Err(AcmeError::NotOurs { name, problem });
        }
    }
    Ok(())
}
