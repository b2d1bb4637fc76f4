//! Loads or creates the ACME account, which is a key that the authority knows.

use instant_acme::{Account, Error, ExternalAccountKey, NewAccount};

use super::AcmeSettings;
use super::authority::Authority;
use super::authority_folder::{AuthorityFolder, StoredAccount};
use super::error::AcmeError;

/// Loads the stored account, or creates a new one (RFC 8555, 7.3).
pub(super) async fn load_or_create_account(
    settings: &AcmeSettings,
    folder: &AuthorityFolder,
    authority: Authority,
) -> Result<Account, AcmeError> {
    let contact = settings.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let builder = Account::builder_with_http(Box::new(authority));
    if let Some(stored) = folder.read_account()? {
        let credentials = serde_json::from_value(stored.credentials.clone()).map_err(Error::from)?;
        let account = builder.from_credentials(credentials).await?;
        if stored.email != settings.email {
            account.update_contacts(&contact).await?;
            folder.write_account(&StoredAccount { email: settings.email.clone(), ..stored })?;
        }
        return Ok(account);
    }
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let external = settings.external_account.as_ref();
    let external = external.map(|external| ExternalAccountKey::new(external.id.clone(), &external.key));
    let (account, credentials) = builder.create(&new, settings.directory.clone(), external.as_ref()).await?;
    let credentials = serde_json::to_value(credentials).map_err(Error::from)?;
    folder.write_account(&StoredAccount { email: settings.email.clone(), credentials })?;
    tracing::info!(authority = settings.directory, "ACME account created");
    Ok(account)
}
