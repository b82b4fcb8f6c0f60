"""Taking out of finished runs what shows people or says who they are."""
