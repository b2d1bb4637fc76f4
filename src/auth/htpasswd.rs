//! Parses files of user names and password hashes, as `htpasswd -B` writes them.

use std::collections::HashMap;

/// The users of a file: their names and the bcrypt hashes of their passwords.
#[derive(Debug, Default)]
pub(super) struct Users {
    hashes: HashMap<String, String>,
}

impl Users {
    /// Parses the text of a file. Skips invalid lines, whose users can't log in, and returns an error for each.
    pub(super) fn parse(text: &str) -> (Self, Vec<String>) {
        let mut users = Self::default();
        let mut skipped = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse_line(line) {
                Ok((name, hash)) => {
                    users.hashes.insert(name.to_owned(), hash.to_owned());
                }
                Err(why) => skipped.push(format!("line {}: {why}", number + 1)),
            }
        }
        (users, skipped)
    }

    /// The hash of a user's password.
    pub(super) fn hash(&self, name: &str) -> Option<&str> {
        self.hashes.get(name).map(String::as_str)
    }

    /// Any of the hashes. A login with an unknown user name is compared with it, so that it takes as long as others.
    pub(super) fn any_hash(&self) -> Option<&str> {
        self.hashes.values().next().map(String::as_str)
    }

    /// The names of the users.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.hashes.keys().map(String::as_str)
    }

    /// The number of users.
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }
}

fn parse_line(line: &str) -> Result<(&str, &str), &'static str> {
    let (name, hash) = line.split_once(':').ok_or("no colon between user name and password")?;
    if name.is_empty() {
        return Err("empty user name");
    }
    if !hash.starts_with("$2") || hash.parse::<bcrypt::HashParts>().is_err() {
        return Err("not a bcrypt hash; create it with htpasswd -B");
    }
    Ok((name, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_and_reports_invalid_lines() {
        let hash = bcrypt::hash("secret", 4).expect("hashed");
        let text = format!(
            "# people\nann:{hash}\n\n  bob:{hash}  \nmd5:$apr1$x$y\nplain:secret\n:{hash}\nnobody\nbad:$2y$10$x"
        );
        let (users, skipped) = Users::parse(&text);
        assert_eq!(users.len(), 2);
        assert_eq!(users.hash("ann"), Some(hash.as_str()));
        assert_eq!(users.hash("bob"), Some(hash.as_str()));
        assert_eq!(users.hash("md5"), None);
        let lines: Vec<_> = skipped.iter().map(|line| line.split(':').next().expect("a line")).collect();
        assert_eq!(lines, ["line 5", "line 6", "line 7", "line 8", "line 9"]);
        assert!(!skipped.concat().contains("secret"), "errors contain no secret");
    }
}
