//! Files of user names and passwords as `htpasswd -B` writes them.

use std::collections::HashMap;

/// The users of a file: their names and the bcrypt hashes of their passwords.
#[derive(Debug, Default)]
pub(super) struct Users {
    hashes: HashMap<String, String>,
}

impl Users {
    /// Reads a file's text. What is no user is left out, and told: those lines' passwords open nothing.
    pub(super) fn parse(text: &str) -> (Self, Vec<String>) {
        let (mut users, mut left_out) = (Self::default(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match user(line) {
                Ok((name, hash)) => {
                    users.hashes.insert(name.to_owned(), hash.to_owned());
                }
                Err(why) => left_out.push(format!("line {}: {why}", number + 1)),
            }
        }
        (users, left_out)
    }

    /// The hash of a user's password.
    pub(super) fn hash(&self, name: &str) -> Option<&str> {
        self.hashes.get(name).map(String::as_str)
    }

    /// A hash that costs as much as the others, for those who are no users.
    pub(super) fn any_hash(&self) -> Option<&str> {
        self.hashes.values().next().map(String::as_str)
    }

    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.hashes.keys().map(String::as_str)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }
}

fn user(line: &str) -> Result<(&str, &str), &'static str> {
    let (name, hash) = line.split_once(':').ok_or("no colon between name and password")?;
    if name.is_empty() {
        return Err("no name");
    }
    if !hash.starts_with("$2") || hash.parse::<bcrypt::HashParts>().is_err() {
        return Err("no bcrypt hash, as htpasswd -B makes it");
    }
    Ok((name, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_user_is_left_out_and_told() {
        let hash = bcrypt::hash("secret", 4).expect("hashed");
        let text = format!(
            "# people\nann:{hash}\n\n  bob:{hash}  \nmd5:$apr1$x$y\nplain:secret\n:{hash}\nnobody\nbad:$2y$10$x"
        );
        let (users, left_out) = Users::parse(&text);
        assert_eq!(users.len(), 2);
        assert_eq!(users.hash("ann"), Some(hash.as_str()));
        assert_eq!(users.hash("bob"), Some(hash.as_str()));
        assert_eq!(users.hash("md5"), None);
        let lines: Vec<_> = left_out.iter().map(|line| line.split(':').next().expect("a line")).collect();
        assert_eq!(lines, ["line 5", "line 6", "line 7", "line 8", "line 9"]);
        assert!(!left_out.concat().contains("secret"), "no secret is ever told");
    }
}
