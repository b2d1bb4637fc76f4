//! Who asks: a key that the authority knows.

use instant_acme::{Account, Error, ExternalAccountKey, NewAccount};

use super::AcmeSettings;
use super::authority::Authority;
use super::error::AcmeError;
use super::kept::{Folder, KeptAccount};

/// The account that is kept, or a new one (RFC 8555, 7.3).
pub(super) async fn account(
    settings: &AcmeSettings,
    folder: &Folder,
    authority: Authority,
) -> Result<Account, AcmeError> {
    let contact = settings.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let builder = Account::builder_with_http(Box::new(authority));
    if let Some(kept) = folder.read_account()? {
        let credentials = serde_json::from_value(kept.credentials.clone()).map_err(Error::from)?;
        let account = builder.from_credentials(credentials).await?;
        if kept.email != settings.email {
            account.update_contacts(&contact).await?;
            folder.write_account(&KeptAccount { email: settings.email.clone(), ..kept })?;
        }
        return Ok(account);
    }
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let external = settings.external.as_ref();
    let external = external.map(|external| ExternalAccountKey::new(external.id.clone(), &external.key));
    let made = builder.create(&new, settings.directory.clone(), external.as_ref()).await?;
    let (account, credentials) = made;
    let credentials = serde_json::to_value(credentials).map_err(Error::from)?;
    folder.write_account(&KeptAccount { email: settings.email.clone(), credentials })?;
    tracing::info!(authority = settings.directory, "an account was made with the authority");
    Ok(account)
}
