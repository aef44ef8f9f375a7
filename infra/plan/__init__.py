"""What N tenants need: arithmetic over measured rates and a price table, each line with its formula."""
