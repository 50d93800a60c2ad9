"""The SFTP server of the user's side: it answers what the file server asks about the folder."""
