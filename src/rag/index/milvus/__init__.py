"""An index kept by Milvus: shards, replicas and upgrades are its own."""
