-- tries: errors that are no text
-- ends: error
pcall(error)
pcall(error, nil)
pcall(error, {})
error({})
